// ByteReader: walks bytes that nobody has checked yet, and never past their end.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "engine/types/status_macros.h"
#include "engine/types/string_view.h"

namespace quire {

static_assert(std::endian::native == std::endian::little, "model files are little endian and are read as they lie");

class ByteReader {
 public:
  // `extent` says in errors what it is that ends: "the file".
  ByteReader(std::span<const std::byte> bytes, std::string extent) : bytes_(bytes), extent_(std::move(extent)) {}

  size_t offset() const { return offset_; }
  size_t remaining() const { return bytes_.size() - offset_; }
  // The bytes read since `begin`.
  std::span<const std::byte> Since(size_t begin) const { return bytes_.subspan(begin, offset_ - begin); }

  // INVALID_ARGUMENT names the offset and `what` when fewer are left.
  absl::StatusOr<std::span<const std::byte>> Read(uint64_t num_bytes, std::string_view what) {
    if (num_bytes > remaining()) {
      return Error(
          absl::StrCat(AbslView(what), " takes ", num_bytes, " bytes, but ", extent_, " ends after ", remaining()));
    }
    offset_ += num_bytes;
    return bytes_.subspan(offset_ - num_bytes, num_bytes);
  }

  template <typename T>
  absl::StatusOr<T> ReadNumber(std::string_view what) {
    ASSIGN_OR_RETURN(const std::span<const std::byte> bytes, Read(sizeof(T), what));
    T value;
    std::memcpy(&value, bytes.data(), sizeof(T));
    return value;
  }

  // INVALID_ARGUMENT, with the offset reached.
  absl::Status Error(std::string_view message) const {
    return absl::InvalidArgumentError(absl::StrCat("byte ", offset_, ": ", AbslView(message)));
  }

 private:
  std::span<const std::byte> bytes_;
  std::string extent_;
  size_t offset_ = 0;
};

}  // namespace quire
