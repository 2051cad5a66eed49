// A session in a file: a header of magic, version, size and checksum, and a quire.v1.SessionFile.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "block_manager/ids.h"

namespace quire {

struct SessionRecord {
  uint64_t fingerprint = 0;  // Of the model.
  uint64_t owner = 0;
  std::vector<TokenId> tokens;
  std::vector<std::string> roles;
};

std::string WriteSession(const SessionRecord& record);
// FAILED_PRECONDITION for what is no such file, or one of another version; DATA_LOSS for one that is torn or damaged.
absl::StatusOr<SessionRecord> ReadSession(std::string_view file);

}  // namespace quire
