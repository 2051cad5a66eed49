// Mailbox: how the server's threads hand work to each other. Many producers, one consumer that takes everything at
// once, so that a busy consumer pays for one lock a step and not one a message.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <utility>
#include <vector>

#include "kernels/check.h"

namespace quire {

// Thread-safe. Order is kept for each producer, and between producers wherever one push happens before another.
template <typename T>
class Mailbox {
 public:
  explicit Mailbox(size_t capacity) : capacity_(capacity) { QUIRE_CHECK(capacity > 0); }
  Mailbox(const Mailbox&) = delete;
  Mailbox& operator=(const Mailbox&) = delete;

  // Offers new work. False, and `item` is left as it was, when `capacity` items wait already or the mailbox is closed.
  bool TryPush(T&& item) { return PushWithin(capacity_, std::move(item)); }

  // Passes on word about work that was taken on earlier (its progress, its end). Never refused for want of room: what
  // was admitted bounds how many such items there can be. False when the mailbox is closed.
  bool Push(T item) { return PushWithin(SIZE_MAX, std::move(item)); }

  // Replaces the contents of `items` by everything that waits, oldest first. With `wait`, blocks until there is
  // something. False once the mailbox is closed and empty.
  bool TakeAll(std::vector<T>& items, bool wait) {
    items.clear();
    std::unique_lock lock(mutex_);
    if (wait) not_empty_.wait(lock, [this] { return !items_.empty() || closed_; });
    items.swap(items_);
    return !items.empty() || !closed_;
  }

  // The same, but waits for something no longer than `patience`.
  bool TakeAllWithin(std::vector<T>& items, std::chrono::milliseconds patience) {
    items.clear();
    std::unique_lock lock(mutex_);
    not_empty_.wait_for(lock, patience, [this] { return !items_.empty() || closed_; });
    items.swap(items_);
    return !items.empty() || !closed_;
  }

  // For the consumer: shows what waits from the first-th item on, oldest first, and returns how many wait. Others wait
  // meanwhile.
  template <typename Visit>
  size_t Peek(size_t first, Visit visit) const {
    std::lock_guard lock(mutex_);
    for (size_t i = first; i < items_.size(); ++i) visit(items_[i]);
    return items_.size();
  }

  // Nothing more is accepted; what waits is still handed out.
  void Close() {
    std::lock_guard lock(mutex_);
    closed_ = true;
    not_empty_.notify_one();
  }

 private:
  bool PushWithin(size_t limit, T&& item) {
    std::lock_guard lock(mutex_);
    if (closed_ || items_.size() >= limit) return false;
    items_.push_back(std::move(item));
    if (items_.size() == 1) not_empty_.notify_one();
    return true;
  }

  const size_t capacity_;
  mutable std::mutex mutex_;
  std::condition_variable not_empty_;
  std::vector<T> items_;
  bool closed_ = false;
};

}  // namespace quire
