#include "engine/loader/gguf_checkpoint.h"

#include <xxhash.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/loader/quoted.h"
#include "engine/types/status_macros.h"
#include "engine/types/string_view.h"

namespace quire {
namespace {

template <typename T>
T NumberAt(const GgufValue& value, uint64_t index) {
  T number;
  std::memcpy(&number, value.bytes.data() + index * sizeof(T), sizeof(T));
  return number;
}

absl::Status WrongType(std::string_view key, const GgufValue& value, std::string_view wanted) {
  return absl::InvalidArgumentError(absl::StrCat("metadata ", Quoted(key), " must be ", AbslView(wanted), ", got ",
                                                 value.is_array ? "an array of " : "", AbslView(NameOf(value.type))));
}

absl::StatusOr<int64_t> IntAt(std::string_view key, const GgufValue& value, uint64_t index) {
  switch (value.type) {
    case GgufType::kUint8:
      return NumberAt<uint8_t>(value, index);
    case GgufType::kInt8:
      return NumberAt<int8_t>(value, index);
    case GgufType::kUint16:
      return NumberAt<uint16_t>(value, index);
    case GgufType::kInt16:
      return NumberAt<int16_t>(value, index);
    case GgufType::kUint32:
      return NumberAt<uint32_t>(value, index);
    case GgufType::kInt32:
      return NumberAt<int32_t>(value, index);
    case GgufType::kInt64:
      return NumberAt<int64_t>(value, index);
    case GgufType::kUint64: {
      const uint64_t number = NumberAt<uint64_t>(value, index);
      if (number <= uint64_t{std::numeric_limits<int64_t>::max()}) return static_cast<int64_t>(number);
      return absl::InvalidArgumentError(absl::StrCat("metadata ", Quoted(key), " is too large: ", number));
    }
    default:
      return WrongType(key, value, value.is_array ? "an array of integers" : "an integer");
  }
}

std::string_view TextAt(std::span<const std::byte> bytes) {
  uint64_t size = 0;
  std::memcpy(&size, bytes.data(), sizeof(size));
  return {reinterpret_cast<const char*>(bytes.data()) + sizeof(size), size};
}

}  // namespace

absl::StatusOr<std::unique_ptr<GgufCheckpoint>> GgufCheckpoint::Parse(std::span<const std::byte> bytes,
                                                                      std::shared_ptr<const void> owner) {
  ASSIGN_OR_RETURN(GgufFile file, ParseGguf(bytes));
  return std::unique_ptr<GgufCheckpoint>(new GgufCheckpoint(std::move(file), std::move(owner)));
}

GgufCheckpoint::GgufCheckpoint(GgufFile file, std::shared_ptr<const void> owner)
    : file_(std::move(file)), owner_(std::move(owner)) {}

absl::StatusOr<const GgufValue*> GgufCheckpoint::Find(std::string_view key, bool is_array) const {
  const auto found = file_.metadata.find(key);
  if (found == file_.metadata.end()) return absl::NotFoundError(absl::StrCat("there is no metadata ", Quoted(key)));
  if (found->second.is_array != is_array)
    return WrongType(key, found->second, is_array ? "an array" : "a single value");
  return &found->second;
}

absl::StatusOr<std::string> GgufCheckpoint::GetString(std::string_view key) const {
  ASSIGN_OR_RETURN(const GgufValue* value, Find(key, false));
  if (value->type != GgufType::kString) return WrongType(key, *value, "a string");
  return std::string(TextAt(value->bytes));
}

absl::StatusOr<int64_t> GgufCheckpoint::GetInt(std::string_view key) const {
  ASSIGN_OR_RETURN(const GgufValue* value, Find(key, false));
  return IntAt(key, *value, 0);
}

absl::StatusOr<double> GgufCheckpoint::GetFloat(std::string_view key) const {
  ASSIGN_OR_RETURN(const GgufValue* value, Find(key, false));
  if (value->type == GgufType::kFloat32) return NumberAt<float>(*value, 0);
  if (value->type == GgufType::kFloat64) return NumberAt<double>(*value, 0);
  return WrongType(key, *value, "a float");
}

absl::StatusOr<bool> GgufCheckpoint::GetBool(std::string_view key) const {
  ASSIGN_OR_RETURN(const GgufValue* value, Find(key, false));
  if (value->type != GgufType::kBool) return WrongType(key, *value, "a bool");
  return NumberAt<uint8_t>(*value, 0) == 1;
}

absl::StatusOr<std::vector<std::string>> GgufCheckpoint::GetStrings(std::string_view key) const {
  ASSIGN_OR_RETURN(const GgufValue* value, Find(key, true));
  if (value->type != GgufType::kString) return WrongType(key, *value, "an array of strings");
  std::vector<std::string> strings;
  strings.reserve(value->count);
  size_t offset = 0;
  for (uint64_t i = 0; i < value->count; ++i) {
    const std::string_view text = TextAt(value->bytes.subspan(offset));
    strings.emplace_back(text);
    offset += sizeof(uint64_t) + text.size();
  }
  return strings;
}

absl::StatusOr<std::vector<int64_t>> GgufCheckpoint::GetInts(std::string_view key) const {
  ASSIGN_OR_RETURN(const GgufValue* value, Find(key, true));
  std::vector<int64_t> numbers;
  numbers.reserve(value->count);
  for (uint64_t i = 0; i < value->count; ++i) {
    ASSIGN_OR_RETURN(const int64_t number, IntAt(key, *value, i));
    numbers.push_back(number);
  }
  return numbers;
}

bool GgufCheckpoint::Has(std::string_view key) const { return file_.metadata.contains(key); }

absl::StatusOr<RawMatrix> GgufCheckpoint::GetTensor(std::string_view name) const {
  const auto found = file_.tensors.find(name);
  if (found == file_.tensors.end()) return absl::NotFoundError(absl::StrCat("there is no tensor ", Quoted(name)));
  const GgufTensor& tensor = found->second;
  if (!tensor.dtype) {
    return absl::InvalidArgumentError(
        absl::StrCat("tensor ", Quoted(name), " is of ggml type ", tensor.type, ", which is not supported"));
  }
  if (tensor.num_dims > 2) {
    return absl::InvalidArgumentError(
        absl::StrCat("tensor ", Quoted(name), " must have one or two dimensions, got ", tensor.num_dims));
  }
  return RawMatrix{*tensor.dtype, static_cast<int64_t>(tensor.rows), static_cast<int64_t>(tensor.cols), tensor.bytes};
}

bool GgufCheckpoint::HasTensor(std::string_view name) const { return file_.tensors.contains(name); }

std::vector<std::string> GgufCheckpoint::TensorNames() const {
  std::vector<std::string> names;
  names.reserve(file_.tensors.size());
  for (const auto& [name, tensor] : file_.tensors) names.emplace_back(name);
  return names;
}

uint64_t GgufCheckpoint::Fingerprint() const {
  constexpr size_t kSamples = 16;
  constexpr size_t kSampleBytes = 64;
  uint64_t hash = XXH3_64bits(file_.header.data(), file_.header.size());
  for (const auto& [name, tensor] : file_.tensors) {
    const size_t step = std::max(tensor.bytes.size() / kSamples, kSampleBytes);
    for (size_t offset = 0; offset < tensor.bytes.size(); offset += step) {
      const auto sample = tensor.bytes.subspan(offset, std::min(kSampleBytes, tensor.bytes.size() - offset));
      hash = XXH3_64bits_withSeed(sample.data(), sample.size(), hash);
    }
  }
  return hash;
}

}  // namespace quire
