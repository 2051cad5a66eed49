#include "server/http/field_names.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "server/status_details.h"

namespace quire {

absl::Status WithFieldRenamed(absl::Status status, const std::vector<std::pair<std::string, std::string>>& names) {
  const std::string field = FieldOf(status);
  const std::string renamed = absl::StrReplaceAll(field, names);
  const std::string message(status.message());
  if (renamed == field || !absl::StartsWith(message, absl::StrCat(field, " "))) return status;
  return InvalidField(renamed, message.substr(field.size() + 1));
}

}  // namespace quire
