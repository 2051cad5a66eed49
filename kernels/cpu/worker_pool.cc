#include "kernels/cpu/worker_pool.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <sstream>

#include "kernels/check.h"

namespace quire {
namespace {

// Long enough to bridge the work between two kernels of a step, short enough not to show when the server is idle.
constexpr std::chrono::microseconds kSpinTime{40};
constexpr int kPausesPerClockRead = 16;

void Pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

void PinThread(std::thread& thread, int processor) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(processor, &set);
  // Pinning only makes things faster; where it is forbidden the thread runs anywhere.
  (void)pthread_setaffinity_np(thread.native_handle(), sizeof(set), &set);
}

}  // namespace

std::vector<int> AllowedProcessors() {
  std::vector<int> processors;
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) == 0) {
    for (int processor = 0; processor < CPU_SETSIZE; ++processor) {
      if (CPU_ISSET(processor, &set)) processors.push_back(processor);
    }
  }
  if (processors.empty()) processors.push_back(0);
  return processors;
}

int ProcessorsInQuota(const std::string& cpu_max, int processors) {
  std::istringstream fields(cpu_max);
  int64_t quota = 0, period = 0;
  if (!(fields >> quota >> period) || quota < 1 || period < 1) return processors;
  return static_cast<int>(std::min<int64_t>(processors, (quota - 1) / period + 1));
}

int DefaultWorkerCount() {
  std::ifstream file("/sys/fs/cgroup/cpu.max");
  std::string cpu_max;
  std::getline(file, cpu_max);
  return ProcessorsInQuota(cpu_max, static_cast<int>(AllowedProcessors().size()));
}

WorkerPool::WorkerPool(int size) : size_(size), spin_(size <= static_cast<int>(AllowedProcessors().size())) {
  QUIRE_CHECK(size >= 1);
  const std::vector<int> processors = AllowedProcessors();
  threads_.reserve(size - 1);
  for (int worker = 1; worker < size; ++worker) {
    threads_.emplace_back([this, worker] { WorkerLoop(worker); });
    if (size == static_cast<int>(processors.size())) PinThread(threads_.back(), processors[worker]);
  }
}

WorkerPool::~WorkerPool() {
  stopping_ = true;
  epoch_.fetch_add(1, std::memory_order_release);
  epoch_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void WorkerPool::Run(absl::FunctionRef<void(int worker)> fn) {
  job_ = &fn;
  unfinished_.store(size_ - 1, std::memory_order_relaxed);
  epoch_.fetch_add(1, std::memory_order_release);
  epoch_.notify_all();
  fn(0);
  for (uint32_t left; (left = unfinished_.load(std::memory_order_acquire)) != 0;) WaitWhileEqual(unfinished_, left);
}

void WorkerPool::Barrier() {
  // Cannot change before this worker has arrived.
  const uint32_t generation = generation_.load(std::memory_order_relaxed);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == static_cast<uint32_t>(size_)) {
    arrived_.store(0, std::memory_order_relaxed);
    generation_.store(generation + 1, std::memory_order_release);
    generation_.notify_all();
  } else {
    WaitWhileEqual(generation_, generation);
  }
}

void WorkerPool::WorkerLoop(int worker) {
  for (uint32_t epoch = 0;; ++epoch) {
    WaitWhileEqual(epoch_, epoch);
    if (stopping_) return;
    (*job_)(worker);
    // The caller sleeps on every value, so each change is announced, not only the last.
    unfinished_.fetch_sub(1, std::memory_order_release);
    unfinished_.notify_one();
  }
}

void WorkerPool::WaitWhileEqual(const std::atomic<uint32_t>& value, uint32_t old) const {
  if (spin_) {
    const auto deadline = std::chrono::steady_clock::now() + kSpinTime;
    do {
      for (int i = 0; i < kPausesPerClockRead; ++i) {
        if (value.load(std::memory_order_acquire) != old) return;
        Pause();
      }
    } while (std::chrono::steady_clock::now() < deadline);
  }
  value.wait(old, std::memory_order_acquire);
}

}  // namespace quire
