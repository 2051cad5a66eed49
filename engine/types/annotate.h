// Says where an error belongs as it travels up.
#pragma once

#include <string_view>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "engine/types/string_view.h"

namespace quire {

// The same error with "place: " before its message.
inline absl::Status Annotate(const absl::Status& status, std::string_view place) {
  return absl::Status(status.code(), absl::StrCat(AbslView(place), ": ", status.message()));
}

}  // namespace quire
