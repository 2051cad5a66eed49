// RequestQueue: sequences of one tenant that wait for a seat and for pages, in the order of ServedBefore. A preempted
// one goes back to its own place, before whatever came after it.
#pragma once

#include <cstdint>
#include <set>

#include "engine/types/sequence.h"

namespace quire {

class RequestQueue {
 public:
  using Iterator = std::set<Sequence*, ServedBefore>::const_iterator;

  // REQUIRES: not in the queue. Iterators stay valid.
  void Insert(Sequence& sequence);
  // REQUIRES: in the queue, with as many tokens as when it was inserted.
  void Remove(Sequence& sequence);

  Iterator begin() const { return queue_.begin(); }
  Iterator end() const { return queue_.end(); }
  bool empty() const { return queue_.empty(); }
  int size() const { return static_cast<int>(queue_.size()); }
  int64_t num_tokens() const { return num_tokens_; }

  void CheckInvariants() const;

 private:
  std::set<Sequence*, ServedBefore> queue_;
  int64_t num_tokens_ = 0;
};

}  // namespace quire
