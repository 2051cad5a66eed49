// WorkShares: hands units of work to the workers of a WorkerPool. Each goes through a share of its own from the front,
// and so through memory in order; one that is done takes from the back of the others' shares, so that a worker which
// has lost its processor for a while keeps nobody waiting.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

namespace quire {

class WorkShares {
 public:
  // REQUIRES: num_workers >= 1.
  explicit WorkShares(int num_workers);

  // Deals out units [0, num_units). Not while Next is called. REQUIRES: 0 <= num_units < 2^31.
  void Reset(int64_t num_units);

  // A unit that nobody has been given since Reset, or -1 when there are none left. Any thread; `worker` says whose
  // share comes first.
  int64_t Next(int worker);

 private:
  // Begin and end of what is left of one share, in one word so that both ends can be taken from at once.
  struct alignas(64) Share {
    std::atomic<uint64_t> range{0};
  };

  int64_t TakeFront(Share& share);
  int64_t TakeBack(Share& share);

  const int num_workers_;
  const std::unique_ptr<Share[]> shares_;
};

}  // namespace quire
