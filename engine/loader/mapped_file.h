// MappedFile: a file's bytes in memory, read-only, for as long as the object lives.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "absl/status/statusor.h"

namespace quire {

// Nothing is read until it is touched. Whoever shortens the file meanwhile makes a touch beyond its new end fatal, so a
// mapping is held only while a model loads. Threads: immutable.
class MappedFile {
 public:
  // NOT_FOUND, PERMISSION_DENIED, ... as the system says; INVALID_ARGUMENT for what is not a regular file or is empty.
  // The message leaves the path to the caller.
  static absl::StatusOr<MappedFile> Open(const std::string& path);
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&&) = delete;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  explicit MappedFile(std::span<const std::byte> bytes) : bytes_(bytes) {}

  std::span<const std::byte> bytes_;
};

}  // namespace quire
