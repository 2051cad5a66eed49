#include "kernels/cpu/work_shares.h"

#include "kernels/check.h"

namespace quire {
namespace {

constexpr int kEndBits = 32;

uint64_t Pack(uint64_t begin, uint64_t end) { return begin << kEndBits | end; }
uint64_t Begin(uint64_t range) { return range >> kEndBits; }
uint64_t End(uint64_t range) { return range & ((uint64_t{1} << kEndBits) - 1); }

}  // namespace

WorkShares::WorkShares(int num_workers) : num_workers_(num_workers), shares_(new Share[num_workers]) {
  QUIRE_CHECK(num_workers >= 1);
}

void WorkShares::Reset(int64_t num_units) {
  QUIRE_CHECK(num_units >= 0 && num_units < int64_t{1} << 31);
  for (int worker = 0; worker < num_workers_; ++worker) {
    const uint64_t range = Pack(num_units * worker / num_workers_, num_units * (worker + 1) / num_workers_);
    shares_[worker].range.store(range, std::memory_order_relaxed);
  }
}

int64_t WorkShares::Next(int worker) {
  int64_t unit = TakeFront(shares_[worker]);
  for (int i = 1; unit < 0 && i < num_workers_; ++i) unit = TakeBack(shares_[(worker + i) % num_workers_]);
  return unit;
}

int64_t WorkShares::TakeFront(Share& share) {
  uint64_t range = share.range.load(std::memory_order_relaxed);
  while (Begin(range) < End(range)) {
    const uint64_t rest = Pack(Begin(range) + 1, End(range));
    if (share.range.compare_exchange_weak(range, rest, std::memory_order_relaxed)) {
      return static_cast<int64_t>(Begin(range));
    }
  }
  return -1;
}

int64_t WorkShares::TakeBack(Share& share) {
  uint64_t range = share.range.load(std::memory_order_relaxed);
  while (Begin(range) < End(range)) {
    const uint64_t rest = Pack(Begin(range), End(range) - 1);
    if (share.range.compare_exchange_weak(range, rest, std::memory_order_relaxed)) {
      return static_cast<int64_t>(End(range) - 1);
    }
  }
  return -1;
}

}  // namespace quire
