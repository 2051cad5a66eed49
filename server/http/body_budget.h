// BodyBudget: bounds the memory that the bodies of all requests take together.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <utility>

namespace quire {

// Thread-safe. Shares may outlive it: a job that was given up may hold a body longer than the server that read it lives.
class BodyBudget {
  struct Room {
    explicit Room(size_t most) : limit(most) {}
    const size_t limit;
    std::atomic<size_t> used{0};
  };

 public:
  explicit BodyBudget(size_t limit) : room_(std::make_shared<Room>(limit)) {}

  // A part of the budget, given back when it is destroyed.
  class Share {
   public:
    Share() = default;
    explicit Share(const BodyBudget& budget) : room_(budget.room_) {}
    Share(Share&& other) noexcept : room_(std::move(other.room_)), bytes_(std::exchange(other.bytes_, 0)) {}
    Share& operator=(Share&& other) noexcept {
      std::swap(room_, other.room_);
      std::swap(bytes_, other.bytes_);
      return *this;
    }
    ~Share() {
      if (room_ != nullptr) room_->used -= bytes_;
    }

    // Makes this share at least `bytes` large; false, and nothing changes, where that would be too much.
    bool GrowTo(size_t bytes) {
      if (bytes <= bytes_) return true;
      const size_t more = bytes - bytes_;
      if (room_->used.fetch_add(more) + more > room_->limit) {
        room_->used -= more;
        return false;
      }
      bytes_ = bytes;
      return true;
    }

   private:
    std::shared_ptr<Room> room_;
    size_t bytes_ = 0;
  };

 private:
  const std::shared_ptr<Room> room_;
};

}  // namespace quire
