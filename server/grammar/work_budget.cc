#include "server/grammar/work_budget.h"

#include <malloc.h>

#include <cstdlib>
#include <ctime>
#include <exception>

#include "kernels/check.h"

namespace quire {
namespace {

// The clock costs as much as a few allocations.
constexpr uint32_t kAllocationsPerLook = 64;

thread_local WorkBudget* current_budget = nullptr;

int64_t ThreadTimeNs() {
  timespec time;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

}  // namespace

WorkBudget::Scope::Scope(WorkBudget& budget, absl::Duration time) {
  QUIRE_CHECK(current_budget == nullptr);
  budget.exhausted_ = nullptr;
  budget.deadline_ns_ = ThreadTimeNs() + absl::ToInt64Nanoseconds(time);
  current_budget = &budget;
}

WorkBudget::Scope::~Scope() { current_budget = nullptr; }

void WorkBudget::Charge(size_t bytes) {
  if (exhausted_ == nullptr) {
    if (static_cast<uint64_t>(bytes) > static_cast<uint64_t>(bytes_left_ > 0 ? bytes_left_ : 0)) {
      exhausted_ = "too much memory";
    } else if (++num_allocations_ % kAllocationsPerLook == 0 && ThreadTimeNs() > deadline_ns_) {
      exhausted_ = "too much time";
    }
  }
  // Destructors that run because of it must get what they ask for.
  if (exhausted_ != nullptr && std::uncaught_exceptions() == 0) throw Exhausted(exhausted_);
}

}  // namespace quire

// All other forms of new and delete but the aligned ones, which are not counted, go through these two.
void* operator new(size_t bytes) {
  quire::WorkBudget* const budget = quire::current_budget;
  if (budget != nullptr) budget->Charge(bytes);
  void* const memory = std::malloc(bytes == 0 ? 1 : bytes);
  if (memory == nullptr) throw std::bad_alloc();
  if (budget != nullptr) budget->Settle(-static_cast<int64_t>(malloc_usable_size(memory)));
  return memory;
}

void operator delete(void* memory) noexcept {
  if (quire::current_budget != nullptr) {
    quire::current_budget->Settle(static_cast<int64_t>(malloc_usable_size(memory)));
  }
  std::free(memory);
}

// gcc warns where only one of the two is replaced.
void operator delete(void* memory, size_t /*bytes*/) noexcept { operator delete(memory); }
