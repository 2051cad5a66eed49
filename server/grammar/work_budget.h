// WorkBudget: bounds the processor time and the memory of calls into a library that knows no bounds of its own. While a
// Scope is alive, allocations of its thread are counted, and one that goes beyond the budget throws: code that cannot
// be interrupted is left where it allocates next. Work that allocates nothing is not stopped.
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>

#include "absl/time/time.h"

namespace quire {

// Not thread-safe; one thread at a time may have a Scope on it. The global operator new and delete of the program
// (work_budget.cc) do the counting.
class WorkBudget {
 public:
  // What an allocation beyond the budget throws; so does each that follows in its Scope.
  class Exhausted : public std::bad_alloc {
   public:
    explicit Exhausted(const char* what) : what_(what) {}
    const char* what() const noexcept override { return what_; }

   private:
    const char* what_;
  };

  // `bytes`: what may be allocated and not freed again, over all scopes.
  explicit WorkBudget(int64_t bytes) : bytes_left_(bytes) {}

  // Puts this thread's allocations on `budget`, for at most `time` of the thread's processor time. Scopes do not nest.
  class Scope {
   public:
    Scope(WorkBudget& budget, absl::Duration time);
    ~Scope();
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;
  };

  // For operator new and delete.
  void Charge(size_t bytes);
  void Settle(int64_t bytes) { bytes_left_ += bytes; }

 private:
  int64_t bytes_left_;
  int64_t deadline_ns_ = 0;  // Of the thread's clock.
  uint32_t num_allocations_ = 0;
  const char* exhausted_ = nullptr;
};

}  // namespace quire
