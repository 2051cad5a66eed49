#include "server/grammar/work_budget.h"

#include <gtest/gtest.h>

#include <list>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace quire {
namespace {

constexpr absl::Duration kLong = absl::Seconds(1000);

TEST(WorkBudget, StopsAnAllocationBeyondIt) {
  WorkBudget budget(1 << 20);
  const WorkBudget::Scope scope(budget, kLong);
  EXPECT_THROW(std::vector<char>(2 << 20), WorkBudget::Exhausted);
}

TEST(WorkBudget, CountsWhatIsFreedAsFree) {
  WorkBudget budget(1 << 20);
  const WorkBudget::Scope scope(budget, kLong);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(std::vector<char>(500'000).size(), 500'000u);
}

TEST(WorkBudget, AddsUpOverScopes) {
  WorkBudget budget(1 << 20);
  std::vector<std::string> kept;
  const auto keep = [&] {
    const WorkBudget::Scope scope(budget, kLong);
    kept.emplace_back(400'000, 'x');
  };
  keep();
  keep();
  EXPECT_THROW(keep(), WorkBudget::Exhausted);
}

TEST(WorkBudget, StopsWorkThatTakesTooLongWhereItAllocates) {
  WorkBudget budget(int64_t{1} << 30);
  const WorkBudget::Scope scope(budget, absl::Milliseconds(1));
  EXPECT_THROW(
      {
        // Calls, since a compiler may leave a new-expression out whose object is deleted at once.
        for (;;) ::operator delete(::operator new(1));
      },
      WorkBudget::Exhausted);
}

TEST(WorkBudget, LetsDestructorsAllocateWhileItUnwinds) {
  struct Allocates {
    ~Allocates() { std::string(1000, 'x').swap(*into); }
    std::string* into;
  };
  std::string into;
  WorkBudget budget(100'000);
  const WorkBudget::Scope scope(budget, kLong);
  EXPECT_THROW(
      {
        const Allocates allocates{&into};
        std::list<std::string> growing;
        for (;;) growing.emplace_back(1000, 'y');
      },
      WorkBudget::Exhausted);
  EXPECT_EQ(into.size(), 1000u);
}

TEST(WorkBudget, IsTheScopesThreadsAlone) {
  WorkBudget budget(1000);
  const WorkBudget::Scope scope(budget, kLong);
  size_t size = 0;
  // The thread's own bookkeeping fits.
  std::thread([&size] { size = std::vector<char>(2 << 20).size(); }).join();
  EXPECT_EQ(size, size_t{2 << 20});
}

}  // namespace
}  // namespace quire
