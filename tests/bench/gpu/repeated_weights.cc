#include "tests/bench/gpu/repeated_weights.h"

#include <algorithm>

#include "tests/kernels/random_weights.h"

namespace quire {
namespace {

constexpr int64_t kRandomRows = 64;

}  // namespace

RawMatrix RepeatedWeights::Matrix(DType dtype, int64_t rows, int64_t cols) {
  std::vector<std::byte>& bytes = bytes_[{dtype, cols}];
  if (bytes.empty()) bytes = RandomWeights(dtype, kRandomRows, cols, random_).bytes;
  const DTypeTraits traits = TraitsOf(dtype);
  const auto needed = static_cast<size_t>(rows * cols / traits.block_elements * traits.block_bytes);
  // What there is repeats itself already, so a copy of its beginning goes on with it.
  while (bytes.size() < needed) {
    const size_t before = bytes.size(), more = std::min(before, needed - before);
    bytes.resize(before + more);
    std::copy_n(bytes.begin(), more, bytes.begin() + static_cast<std::ptrdiff_t>(before));
  }
  return {dtype, rows, cols, std::span(bytes).first(needed)};
}

}  // namespace quire
