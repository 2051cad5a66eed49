// SessionFolder: where sessions' files lie, apart for each owner. A file is there as a whole or not at all.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"

namespace quire {

// Blocks on the disk. Not to be used by two threads at a time.
class SessionFolder {
 public:
  static constexpr int kMaxFilesPerOwner = 1000;
  static constexpr size_t kMaxFileBytes = 64 << 20;

  // `path` is made with the first file.
  explicit SessionFolder(std::string path) : path_(std::move(path)) {}

  // INVALID_ARGUMENT for a name that is none: letters, digits, ".", "_" and "-", beginning with a letter or a digit.
  static absl::Status CheckName(const std::string& field, const std::string& name);

  // Replaces what there was. RESOURCE_EXHAUSTED for one file too many; UNAVAILABLE where the disk does not take it.
  // REQUIRES, as of Read: CheckName accepts the name.
  absl::Status Write(uint64_t owner, const std::string& name, const std::string& content);
  absl::StatusOr<std::string> Read(uint64_t owner, const std::string& name) const;

 private:
  std::string FolderOf(uint64_t owner) const;

  const std::string path_;
};

}  // namespace quire
