#include "tests/cuda_shim/async_units.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "kernels/bfloat16.h"
#include "tests/cuda_shim/cuda_fp8.h"

namespace quire::cuda_shim {
namespace {

constexpr int kMultiprocessorRegisters = 65536;
constexpr int kWarpgroup = 128;
constexpr int kMostDepth = 32;  // Of a product: how many are summed.

// A matrix descriptor (PTX ISA manual, 9.7.15.5.1): addresses and strides without their four lowest bits.
struct Descriptor {
  explicit Descriptor(uint64_t bits)
      : start((bits & 0x3fff) << 4),
        leading((bits >> 16 & 0x3fff) << 4),
        stride((bits >> 32 & 0x3fff) << 4),
        swizzle(static_cast<int>(bits >> 62)) {}

  // Where the element of row k and column n of B lies. Transposed ones have two bytes.
  size_t Place(bool transposed, int k, int n, int element_bytes) const {
    const size_t linear = transposed ? start + n / 64 * leading + k / 8 * stride + k % 8 * 128 + n % 64 * 2
                                     : start + n / 8 * stride + n % 8 * 128 + k * element_bytes;
    return linear ^ (linear >> 7 & 7) << 4;
  }

  size_t start, leading, stride;
  int swizzle;  // 1: 128 bytes.
};

// An element of an operand, of the lowest bits.
double ElementOf(uint32_t bits, bool is_float8) {
  static const std::array<float, 256> float8 = [] {
    std::array<float, 256> values;
    for (size_t code = 0; code < values.size(); ++code) {
      values[code] = __half(__nv_cvt_fp8_to_halfraw(static_cast<__nv_fp8_storage_t>(code), __NV_E4M3));
    }
    return values;
  }();
  return is_float8 ? float8[bits & 0xff] : FromBFloat16(static_cast<uint16_t>(bits));
}

}  // namespace

std::string MultiplyTile(void* const* lanes, const std::byte* shared, size_t shared_bytes) {
  const auto& first = *static_cast<const WarpgroupProduct*>(lanes[0]);
  const Descriptor descriptor(first.b);
  if (descriptor.swizzle != 1 || descriptor.start % 1024 >= 128) {
    return absl::StrCat("a tile at ", descriptor.start, " with swizzle mode ", descriptor.swizzle);
  }
  const int bytes = first.is_float8 ? 1 : 2, per_word = 4 / bytes, depth = 8 * per_word;
  double a[16][kMostDepth];
  for (int lane = 0; lane < kLanes; ++lane) {
    const auto& product = *static_cast<const WarpgroupProduct*>(lanes[lane]);
    if (product.b != first.b || product.accumulate != first.accumulate || product.is_float8 != first.is_float8 ||
        product.num_columns != first.num_columns) {
      return "lanes that do not agree";
    }
    for (int i = 0; i < 4; ++i) {
      double* const to = &a[lane / 4 + i % 2 * 8][(lane % 4 + i / 2 * 4) * per_word];
      for (int j = 0; j < per_word; ++j) to[j] = ElementOf(product.a[i] >> 8 * bytes * j, first.is_float8);
    }
  }
  for (int n = 0; n < first.num_columns; ++n) {
    double b[kMostDepth];
    for (int k = 0; k < depth; ++k) {
      const size_t place = descriptor.Place(first.transposed, k, n, bytes);
      if (place + bytes > shared_bytes) return absl::StrCat("an element at ", place, " of ", shared_bytes, " bytes");
      uint16_t element = 0;
      std::memcpy(&element, shared + place, bytes);
      b[k] = ElementOf(element, first.is_float8);
    }
    for (int row = 0; row < 16; ++row) {
      const auto& owner = *static_cast<const WarpgroupProduct*>(lanes[row % 8 * 4 + n % 8 / 2]);
      float& d = owner.d[n / 8 * 4 + row / 8 * 2 + n % 2];
      if (!owner.accumulate) d = 0;
      for (int begin = 0; begin < depth; begin += 16) {
        double sum = 0;
        for (int k = begin; k < begin + 16; ++k) sum += a[row][k] * b[k];
        d = static_cast<float>(d + sum);
      }
    }
  }
  return "";
}

void AsyncUnits::Begin(int num_threads) {
  copies_.clear();
  std::fill(std::begin(named_barriers_), std::end(named_barriers_), NamedBarrier());
  const int whole = (num_threads + kWarpgroup - 1) / kWarpgroup * kWarpgroup;
  registers_.assign(num_threads, std::min(kMultiprocessorRegisters / whole / 8 * 8, 255));
  spare_registers_ = 0;
}

std::string AsyncUnits::Unfinished() const {
  if (has_copies()) return absl::StrCat(copies_.size(), " bulk copies are under way");
  for (int i = 0; i < kNamedBarriers; ++i) {
    if (named_barriers_[i].arrived == 0) continue;
    return absl::StrCat(named_barriers_[i].arrived, " threads have come to barrier ", i, ", which is for ",
                        named_barriers_[i].threads);
  }
  return "";
}

void AsyncUnits::CopyOne(uint64_t random) {
  const size_t chosen = random % copies_.size();
  const BulkCopy copy = copies_[chosen];
  copies_.erase(copies_.begin() + static_cast<std::ptrdiff_t>(chosen));
  std::memcpy(copy.to, copy.from, copy.bytes);
  copy.barrier->bytes -= copy.bytes;
  copy.barrier->Advance();
}

std::string AsyncUnits::ArriveAtNamed(int number, int threads) {
  if (number < 1 || number >= kNamedBarriers) return absl::StrCat("barrier ", number);
  if (threads <= 0 || threads % kLanes != 0) return absl::StrCat("a barrier of ", threads, " threads");
  NamedBarrier& barrier = named_barriers_[number];
  if (barrier.arrived > 0 && barrier.threads != threads) {
    return absl::StrCat("barrier ", number, " of ", threads, " threads, to which others came as one of ",
                        barrier.threads);
  }
  barrier.threads = threads;
  if (++barrier.arrived == threads) {
    barrier.arrived = 0;
    ++barrier.phase;
  }
  return "";
}

bool AsyncUnits::GiveRegisters(int thread, int wanted) {
  if (wanted > registers_[thread]) return false;
  spare_registers_ += registers_[thread] - wanted;
  registers_[thread] = wanted;
  return true;
}

bool AsyncUnits::TakeRegisters(int thread, int wanted) {
  const int more = wanted - registers_[thread];
  if (more > spare_registers_) return false;
  spare_registers_ -= more;
  registers_[thread] = wanted;
  return true;
}

}  // namespace quire::cuda_shim
