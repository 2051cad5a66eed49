#include "server/http/flat_tools.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/types/status_macros.h"
#include "server/http/field_names.h"
#include "server/status_details.h"
#include "server/tools/apply_tools.h"

namespace quire {

absl::StatusOr<Json> ReadFlatTools(const JsonFields& fields, const FlatToolNames& names) {
  const Json* json = fields.Find("tools");
  if (json == nullptr) return Json();
  if (!json->is_array()) return WrongType(*json, fields.Path("tools"), "a list of tools");
  Json tools = Json::array();
  for (size_t i = 0; i < json->size(); ++i) {
    const std::string path = absl::StrCat(fields.Path("tools"), "[", i, "]");
    if (!(*json)[i].is_object()) return WrongType((*json)[i], path, "an object");
    const JsonFields tool((*json)[i], path);
    std::string type = names.type;
    RETURN_IF_ERROR(tool.Read("type", type));
    if (type != names.type) {
      return InvalidField(
          tool.Path("type"),
          absl::StrCat("must be \"", names.type, "\": this server has no tools of its own, got \"", type, "\""));
    }
    Json function = Json::object();
    using Names = std::pair<const char*, const char*>;
    for (const auto& [from, to] :
         {Names("name", "name"), Names("description", "description"), Names(names.schema, "parameters")}) {
      if (const Json* value = tool.Find(from)) function[to] = *value;
    }
    tools.push_back({{"type", "function"}, {"function", std::move(function)}});
  }
  return tools;
}

Json NamedToolChoice(const Json& name) { return {{"type", "function"}, {"function", {{"name", name}}}}; }

absl::Status ApplyFlatTools(const Json& tools, const Json& choice, bool parallel, const FlatToolNames& names,
                            const ServedModel& model, PipelineRequest& request) {
  return WithFieldRenamed(ApplyTools(tools, choice, parallel, model, request),
                          {{".function.parameters", absl::StrCat(".", names.schema)}, {".function.", "."}});
}

}  // namespace quire
