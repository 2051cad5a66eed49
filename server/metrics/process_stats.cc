#include "server/metrics/process_stats.h"

#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>

#include "absl/time/clock.h"
#include "server/available_memory.h"

namespace quire {
namespace {

double Seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
}

double CpuSeconds() {
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  return Seconds(usage.ru_utime) + Seconds(usage.ru_stime);
}

struct MemorySizes {
  int64_t virtual_bytes = 0;
  int64_t resident_bytes = 0;
};

MemorySizes ReadMemorySizes() {
  std::ifstream file("/proc/self/statm");
  int64_t virtual_pages = 0, resident_pages = 0;
  if (!(file >> virtual_pages >> resident_pages)) return {};
  const int64_t page_bytes = sysconf(_SC_PAGESIZE);
  return {virtual_pages * page_bytes, resident_pages * page_bytes};
}

double StartTimeSeconds() {
  std::ifstream file("/proc/self/stat");
  std::string line;
  std::getline(file, line);
  // The second field is the program's name in parentheses and may hold anything; the start is the 20th after it, in
  // ticks since boot.
  const size_t name_end = line.rfind(')');
  if (name_end == std::string::npos) return 0;
  std::string field;
  std::istringstream fields(line.substr(name_end + 1));
  for (int i = 0; i < 20; ++i) fields >> field;
  timespec since_boot = {};
  clock_gettime(CLOCK_BOOTTIME, &since_boot);
  const double boot_time = absl::ToDoubleSeconds(absl::Now() - absl::UnixEpoch()) -
                           absl::ToDoubleSeconds(absl::DurationFromTimespec(since_boot));
  return boot_time + std::strtod(field.c_str(), nullptr) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

int64_t CountOpenFds() {
  std::error_code error;
  const std::filesystem::directory_iterator fds("/proc/self/fd", error);
  return error ? 0 : std::distance(begin(fds), end(fds));
}

prometheus::MetricFamily Family(const std::string& name, const std::string& help, prometheus::MetricType type,
                                double value) {
  prometheus::ClientMetric metric;
  if (type == prometheus::MetricType::Counter) {
    metric.counter.value = value;
  } else {
    metric.gauge.value = value;
  }
  return {name, help, type, {metric}};
}

}  // namespace

ProcessStats ReadProcessStats() {
  ProcessStats stats;
  stats.cpu_seconds = CpuSeconds();
  stats.start_time_seconds = StartTimeSeconds();
  const MemorySizes memory = ReadMemorySizes();
  stats.resident_bytes = memory.resident_bytes;
  stats.virtual_bytes = memory.virtual_bytes;
  stats.open_fds = CountOpenFds();
  rlimit limit = {};
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) stats.max_fds = static_cast<int64_t>(limit.rlim_cur);
  return stats;
}

std::vector<prometheus::MetricFamily> ProcessFamilies(const ProcessStats& stats) {
  using prometheus::MetricType;
  const auto gauge = [](const std::string& name, const std::string& help, auto value) {
    return Family(name, help, MetricType::Gauge, static_cast<double>(value));
  };
  return {
      Family("process_cpu_seconds_total", "Processor time, user and system", MetricType::Counter, stats.cpu_seconds),
      gauge("process_start_time_seconds", "When the process started, since the epoch", stats.start_time_seconds),
      gauge("process_resident_memory_bytes", "Memory that the process has", stats.resident_bytes),
      gauge("process_virtual_memory_bytes", "Addresses that the process has mapped", stats.virtual_bytes),
      gauge("process_open_fds", "File descriptors that are open", stats.open_fds),
      gauge("process_max_fds", "File descriptors that may be open", stats.max_fds),
  };
}

UtilizationMeter::UtilizationMeter() : measured_(absl::Now()), cpu_seconds_(CpuSeconds()) {}

Utilization UtilizationMeter::Get(absl::Time now) {
  std::lock_guard lock(mutex_);
  const absl::Duration elapsed = now - measured_;
  if (elapsed < kPeriod && elapsed >= absl::ZeroDuration() && utilization_.memory > 0) return utilization_;
  const double cpu_seconds = CpuSeconds();
  const double available = absl::ToDoubleSeconds(elapsed) * std::max(1u, std::thread::hardware_concurrency());
  if (available > 0) utilization_.cpu = std::clamp((cpu_seconds - cpu_seconds_) / available, 0.0, 1.0);
  const auto resident = static_cast<double>(ReadMemorySizes().resident_bytes);
  utilization_.memory = resident / std::max(1.0, resident + static_cast<double>(AvailableMemory()));
  measured_ = now;
  cpu_seconds_ = cpu_seconds;
  return utilization_;
}

}  // namespace quire
