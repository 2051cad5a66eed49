#include "kernels/part_shapes.h"

#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"
#include "kernels/check.h"
#include "kernels/dtype.h"

namespace quire {
namespace {

// Far beyond any model, and small enough for sizes in bytes to stay within 64 bits.
constexpr int64_t kMaxElements = int64_t{1} << 40;

}  // namespace

absl::Status CheckPartShapes(std::span<const RawMatrix> parts, bool gated) {
  if (parts.empty()) return absl::InvalidArgumentError("no matrix to pack");
  for (const RawMatrix& part : parts) {
    const DTypeTraits traits = TraitsOf(part.dtype);
    const std::string shape = absl::StrCat(std::string(traits.name), " matrix [", part.rows, ", ", part.cols, "]");
    if (part.rows < 1 || part.cols < 1 || part.rows > kMaxElements / part.cols) {
      return absl::InvalidArgumentError(absl::StrCat(shape, " has no usable shape"));
    }
    if (part.cols % traits.block_elements != 0) {
      return absl::InvalidArgumentError(
          absl::StrCat(shape, " needs rows of a multiple of ", traits.block_elements, " elements"));
    }
    if (part.cols != parts[0].cols) {
      return absl::InvalidArgumentError(
          absl::StrCat(shape, " cannot be stacked with rows of ", parts[0].cols, " elements"));
    }
    if (gated && part.rows != parts[0].rows) {
      return absl::InvalidArgumentError(
          absl::StrCat(shape, " cannot be the up-projection of a gate with ", parts[0].rows, " rows"));
    }
    QUIRE_CHECK(static_cast<int64_t>(part.bytes.size()) ==
                part.rows * (part.cols / traits.block_elements) * traits.block_bytes);
  }
  return absl::OkStatus();
}

}  // namespace quire
