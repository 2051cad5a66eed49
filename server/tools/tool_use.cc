#include "server/tools/tool_use.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "engine/types/status_macros.h"
#include "server/status_details.h"

namespace quire {
namespace {

constexpr size_t kMaxTools = 512;
constexpr size_t kMaxNameBytes = 128;

bool IsName(const std::string& name) {
  return !name.empty() && name.size() <= kMaxNameBytes && std::all_of(name.begin(), name.end(), [](char byte) {
    return absl::ascii_isalnum(byte) || byte == '_' || byte == '-' || byte == '.';
  });
}

// The member if it is there and not null.
const Json* Find(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

absl::Status CheckTool(const std::string& field, const Json& tool) {
  if (!tool.is_object()) return InvalidField(field, "must be an object");
  const Json* type = Find(tool, "type");
  if (type == nullptr || *type != "function") return InvalidField(field + ".type", "must be \"function\"");
  const Json* function = Find(tool, "function");
  if (function == nullptr || !function->is_object()) return InvalidField(field + ".function", "must be an object");
  const Json* name = Find(*function, "name");
  if (name == nullptr || !name->is_string() || !IsName(name->get_ref<const std::string&>())) {
    return InvalidField(field + ".function.name",
                        absl::StrCat("must be 1 to ", kMaxNameBytes, " letters, digits, \"_\", \"-\" or \".\""));
  }
  const Json* description = Find(*function, "description");
  if (description != nullptr && !description->is_string()) {
    return InvalidField(field + ".function.description", "must be a string");
  }
  const Json* parameters = Find(*function, "parameters");
  if (parameters != nullptr && !parameters->is_object()) {
    return InvalidField(field + ".function.parameters", "must be an object: a JSON schema");
  }
  return absl::OkStatus();
}

const std::string& NameOf(const Json& tool) { return tool["function"]["name"].get_ref<const std::string&>(); }

// The texts between which the arguments of a call of `tool` stand.
OutputFormat::Frame FrameOf(const Json& tool, const CallSyntax::Envelope& envelope) {
  const Json* parameters = Find(tool["function"], "parameters");
  return {.begin = std::string(envelope.before_name) + Json(NameOf(tool)).dump() + std::string(envelope.after_name),
          .schema = parameters == nullptr ? R"({"type":"object","additionalProperties":false})" : parameters->dump(),
          .end = std::string(envelope.end)};
}

}  // namespace

absl::Status CheckTools(const std::string& field, const Json& tools) {
  if (tools.is_null()) return absl::OkStatus();
  if (!tools.is_array()) return InvalidField(field, "must be a list of tools");
  if (tools.size() > kMaxTools) {
    return InvalidField(field, absl::StrCat("must be at most ", kMaxTools, " tools, got ", tools.size()));
  }
  std::set<std::string_view> names;
  for (size_t i = 0; i < tools.size(); ++i) {
    const std::string place = absl::StrCat(field, "[", i, "]");
    RETURN_IF_ERROR(CheckTool(place, tools[i]));
    if (!names.insert(NameOf(tools[i])).second) {
      return InvalidField(place + ".function.name",
                          absl::StrCat("must differ from the others', got ", NameOf(tools[i])));
    }
  }
  return absl::OkStatus();
}

absl::Status ReadToolChoice(const std::string& field, const Json& value, const Json& tools, ToolChoice* choice) {
  using Kind = ToolChoice::Kind;
  const bool any_tools = tools.is_array() && !tools.empty();
  if (value.is_null()) return absl::OkStatus();
  if (value == "none" || value == "auto") {
    choice->kind = value == "none" ? Kind::kNone : Kind::kAuto;
    return absl::OkStatus();
  }
  if (value == "required") {
    choice->kind = Kind::kRequired;
    return any_tools ? absl::OkStatus() : InvalidField(field, "must be \"none\" or \"auto\" where there are no tools");
  }
  const Json::json_pointer path("/function/name");
  const bool names =
      value.is_object() && value.value("type", Json()) == "function" && value.contains(path) && value[path].is_string();
  if (!names) {
    return InvalidField(
        field, "must be \"none\", \"auto\", \"required\" or {\"type\": \"function\", \"function\": {\"name\": ...}}");
  }
  choice->kind = Kind::kNamed;
  choice->name = value[path];
  const bool known = any_tools && std::any_of(tools.begin(), tools.end(),
                                              [&](const Json& tool) { return NameOf(tool) == choice->name; });
  return known ? absl::OkStatus()
               : InvalidField(field + ".function.name", absl::StrCat("must be one of the tools, got ", choice->name));
}

ToolUse PlanToolUse(const Json& tools, const ToolChoice& choice, const CallSyntax* syntax) {
  using Kind = ToolChoice::Kind;
  if (choice.kind == Kind::kNone) return {};
  ToolUse use{.syntax = syntax, .parallel = choice.parallel && choice.kind != Kind::kNamed, .format = {}};
  if (choice.kind == Kind::kAuto) return use;
  if (syntax == nullptr || !syntax->envelope) use.syntax = &kPlainCallSyntax;
  const CallSyntax::Envelope& envelope = *use.syntax->envelope;
  OutputFormat& format = use.format;
  format.kind = OutputFormat::Kind::kFrames;
  format.field = "tools";
  format.before = std::string(envelope.open);
  format.behind = std::string(envelope.close);
  if (use.parallel) format.separator = std::string(envelope.separator);
  for (const Json& tool : tools) {
    if (choice.kind == Kind::kNamed && NameOf(tool) != choice.name) continue;
    format.frames.push_back(FrameOf(tool, envelope));
  }
  return use;
}

}  // namespace quire
