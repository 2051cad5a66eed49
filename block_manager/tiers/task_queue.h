// TaskQueue: who does a tier's reading and writing. IoThread is a thread; the simulator has one that is late, changes
// the order and loses tasks.
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "absl/functional/any_invocable.h"

namespace quire {

class TaskQueue {
 public:
  using Task = absl::AnyInvocable<void()>;

  virtual ~TaskQueue() = default;
  // Tasks are done one after the other, in this order.
  virtual void Post(Task task) = 0;
  // Returns when nothing posted before will be touched any more.
  virtual void Drain() = 0;
};

// Thread-safe.
class IoThread : public TaskQueue {
 public:
  IoThread() : thread_([this] { Run(); }) {}
  // Does what was posted first.
  ~IoThread() override;

  void Post(Task task) override;
  void Drain() override;

 private:
  void Run();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Task> tasks_;
  bool busy_ = false;
  bool closed_ = false;
  std::thread thread_;
};

}  // namespace quire
