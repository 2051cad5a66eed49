#include "server/http/text_content.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/types/status_macros.h"
#include "server/status_details.h"

namespace quire {
namespace {

absl::StatusOr<std::string> ReadPart(const Json& json, const std::string& path,
                                     std::span<const std::string_view> types) {
  if (json.is_string()) return json.get<std::string>();
  if (!json.is_object()) return WrongType(json, path, "an object with type and text");
  const JsonFields part(json, path);
  std::string type(types[0]), text;
  RETURN_IF_ERROR(part.Read("type", type));
  if (std::find(types.begin(), types.end(), type) == types.end()) {
    return InvalidField(part.Path("type"), absl::StrCat("must be \"", AbslView(types[0]),
                                                        "\", the only input there is, got \"", type, "\""));
  }
  RETURN_IF_ERROR(part.ReadRequired("text", text));
  return text;
}

}  // namespace

absl::StatusOr<std::string> ReadTextContent(const Json& json, const std::string& path,
                                            std::span<const std::string_view> types) {
  if (json.is_string()) return json.get<std::string>();
  if (!json.is_array()) return WrongType(json, path, "a string or a list of parts");
  std::string content;
  for (size_t i = 0; i < json.size(); ++i) {
    ASSIGN_OR_RETURN(const std::string text, ReadPart(json[i], absl::StrCat(path, "[", i, "]"), types));
    absl::StrAppend(&content, i == 0 ? "" : "\n", text);
  }
  return content;
}

}  // namespace quire
