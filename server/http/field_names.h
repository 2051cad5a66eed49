// Fields that an API calls otherwise than the code that checks them.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"

namespace quire {

// An error of InvalidField's under the name that clients have for its field: each first text, where it is in the path,
// is replaced by the second. Others are returned as they are.
absl::Status WithFieldRenamed(absl::Status status, const std::vector<std::pair<std::string, std::string>>& names);

}  // namespace quire
