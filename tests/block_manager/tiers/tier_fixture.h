// Pages as tiers see them, and a queue whose tasks are done when the test says so.
#pragma once

#include <deque>
#include <utility>
#include <vector>

#include "block_manager/prefix_index.h"
#include "block_manager/tiers/page_record.h"
#include "block_manager/tiers/task_queue.h"

namespace quire {

inline constexpr int kPageTokens = 4;
inline constexpr int64_t kPageBytes = 100;

// The only page of a sequence that begins with `first`.
inline PageRecord Page(TokenId first, uint64_t salt = 7) {
  PageRecord page;
  page.salt = salt;
  page.parent = RootKey(salt);
  page.tokens = {first, first + 1, first + 2, first + 3};
  page.key = NextKey(page.parent, page.tokens);
  return page;
}

inline std::vector<std::byte> Contents(int seed) {
  std::vector<std::byte> bytes(kPageBytes);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(seed * 31 + i);
  return bytes;
}

class ManualQueue : public TaskQueue {
 public:
  void Post(Task task) override { tasks_.push_back(std::move(task)); }
  void Drain() override { tasks_.clear(); }

  int size() const { return static_cast<int>(tasks_.size()); }
  void RunNext() {
    Task task = std::move(tasks_.front());
    tasks_.pop_front();
    task();
  }
  void RunAll() {
    while (!tasks_.empty()) RunNext();
  }

 private:
  std::deque<Task> tasks_;
};

}  // namespace quire
