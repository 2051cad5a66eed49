// The GGUF format, versions 2 and 3, little endian: header, metadata, list of tensors, padding, tensor data.
// https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string_view>

#include "absl/status/statusor.h"
#include "kernels/dtype.h"

namespace quire {

// Numbered as in the file.
enum class GgufType : uint32_t {
  kUint8,
  kInt8,
  kUint16,
  kInt16,
  kUint32,
  kInt32,
  kFloat32,
  kBool,
  kString,
  kArray,
  kUint64,
  kInt64,
  kFloat64,
};
std::string_view NameOf(GgufType type);

// A value as it lies in the file: one element, or an array's, one after the other. A string is its length (8 bytes) and
// bytes.
struct GgufValue {
  GgufType type = GgufType::kUint8;  // Of the elements; never kArray.
  bool is_array = false;
  uint64_t count = 1;
  std::span<const std::byte> bytes;
};

struct GgufTensor {
  uint32_t type = 0;                 // As numbered by ggml.
  std::optional<DType> dtype;        // None where `type` is not one that can be computed with.
  int num_dims = 0;                  // Without trailing dimensions of 1.
  uint64_t cols = 1;                 // The innermost dimension.
  uint64_t rows = 1;                 // The product of the others.
  uint64_t offset = 0;               // From the begin of the tensor data.
  std::span<const std::byte> bytes;  // Empty where there is no dtype.
};

// Refers to the bytes it was parsed from. All counts, sizes and spans are within them.
struct GgufFile {
  std::map<std::string_view, GgufValue> metadata;
  std::map<std::string_view, GgufTensor> tensors;
  std::span<const std::byte> header;  // All that precedes the tensor data: metadata and list of tensors.
};

// INVALID_ARGUMENT with the byte offset, key or tensor, and what is wrong there. Takes time and memory by what the file
// holds, whatever it claims; the header may take 64 MiB.
absl::StatusOr<GgufFile> ParseGguf(std::span<const std::byte> bytes);

}  // namespace quire
