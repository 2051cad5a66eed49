#include "server/http/openai/output_format_fields.h"

#include <optional>
#include <string>
#include <utility>

#include "engine/types/status_macros.h"
#include "server/status_details.h"

namespace quire {
namespace {

using Kind = OutputFormat::Kind;

// Takes one wish after the other, and refuses the second.
class FormatReader {
 public:
  explicit FormatReader(OutputFormat& format) : format_(format) {}

  absl::Status Set(const std::string& path, Kind kind, std::string source = "") {
    if (format_.kind != Kind::kFree) return InvalidField(path, "must not be set where another form is asked for, too");
    format_ = {.kind = kind, .source = std::move(source), .field = path};
    return absl::OkStatus();
  }

  // A schema stands there as it is, or as text.
  absl::Status ReadSchema(const JsonFields& fields, const std::string& name) {
    const Json* json = fields.Find(name);
    if (json == nullptr) return absl::OkStatus();
    if (json->is_string()) return Set(fields.Path(name), Kind::kJsonSchema, json->get<std::string>());
    if (!json->is_object() && !json->is_boolean()) return WrongType(*json, fields.Path(name), "a JSON schema");
    return Set(fields.Path(name), Kind::kJsonSchema, ToText(*json));
  }

  absl::Status ReadText(const JsonFields& fields, const std::string& name, Kind kind) {
    std::optional<std::string> text;
    RETURN_IF_ERROR(fields.Read(name, text));
    return text.has_value() ? Set(fields.Path(name), kind, *std::move(text)) : absl::OkStatus();
  }

  absl::Status ReadChoices(const JsonFields& fields, const std::string& name) {
    std::optional<std::vector<std::string>> choices;
    RETURN_IF_ERROR(fields.Read(name, choices));
    if (!choices.has_value()) return absl::OkStatus();
    if (choices->empty()) return InvalidField(fields.Path(name), "must have at least one entry");
    RETURN_IF_ERROR(Set(fields.Path(name), Kind::kChoice));
    format_.choices = *std::move(choices);
    return absl::OkStatus();
  }

  // "json", "regex", "grammar" and "choice" after `prefix`.
  absl::Status ReadVllm(const JsonFields& fields, const std::string& prefix) {
    RETURN_IF_ERROR(ReadSchema(fields, prefix + "json"));
    RETURN_IF_ERROR(ReadText(fields, prefix + "regex", Kind::kRegex));
    RETURN_IF_ERROR(ReadText(fields, prefix + "grammar", Kind::kGrammar));
    RETURN_IF_ERROR(ReadChoices(fields, prefix + "choice"));
    bool any_object = false;
    RETURN_IF_ERROR(fields.Read(prefix + "json_object", any_object));
    return any_object ? Set(fields.Path(prefix + "json_object"), Kind::kJsonObject) : absl::OkStatus();
  }

  // A schema stands in the format itself, or (chat completions) in its field "json_schema".
  absl::Status ReadTyped(const JsonFields& wanted, bool nested) {
    std::string type;
    RETURN_IF_ERROR(wanted.Read("type", type));
    if (type == "text") return absl::OkStatus();
    if (type == "json_object") return Set(wanted.Path("type"), Kind::kJsonObject);
    if (type != "json_schema") {
      return InvalidField(wanted.Path("type"), "must be \"text\", \"json_object\" or \"json_schema\"");
    }
    std::optional<JsonFields> holder;
    if (nested) {
      RETURN_IF_ERROR(wanted.ReadObject("json_schema", holder));
    } else {
      holder.emplace(wanted);
    }
    if (!holder.has_value() || holder->Find("schema") == nullptr) {
      return InvalidField(wanted.Path(nested ? "json_schema.schema" : "schema"),
                          "must be set where the type is \"json_schema\"");
    }
    return ReadSchema(*holder, "schema");
  }

 private:
  OutputFormat& format_;
};

}  // namespace

absl::Status ReadOutputFormat(const JsonFields& fields, OutputFormat& format) {
  FormatReader reader(format);
  std::optional<JsonFields> response_format, structured_outputs;
  RETURN_IF_ERROR(fields.ReadObject("response_format", response_format));
  if (response_format.has_value()) RETURN_IF_ERROR(reader.ReadTyped(*response_format, /*nested=*/true));
  RETURN_IF_ERROR(fields.ReadObject("structured_outputs", structured_outputs));
  if (structured_outputs.has_value()) RETURN_IF_ERROR(reader.ReadVllm(*structured_outputs, ""));
  return reader.ReadVllm(fields, "guided_");
}

absl::Status ReadFlatOutputFormat(const JsonFields& wanted, OutputFormat& format) {
  return FormatReader(format).ReadTyped(wanted, /*nested=*/false);
}

}  // namespace quire
