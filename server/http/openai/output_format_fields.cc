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

  // A schema or a structural tag stands there as it is, or as text.
  absl::Status ReadJson(const JsonFields& fields, const std::string& name, Kind kind) {
    const Json* json = fields.Find(name);
    if (json == nullptr) return absl::OkStatus();
    if (json->is_string()) return Set(fields.Path(name), kind, json->get<std::string>());
    if (!json->is_object() && !json->is_boolean()) {
      return WrongType(*json, fields.Path(name), kind == Kind::kJsonSchema ? "a JSON schema" : "a structural tag");
    }
    return Set(fields.Path(name), kind, ToText(*json));
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
    RETURN_IF_ERROR(ReadJson(fields, prefix + "json", Kind::kJsonSchema));
    RETURN_IF_ERROR(ReadText(fields, prefix + "regex", Kind::kRegex));
    RETURN_IF_ERROR(ReadText(fields, prefix + "grammar", Kind::kGrammar));
    RETURN_IF_ERROR(ReadChoices(fields, prefix + "choice"));
    bool any_object = false;
    RETURN_IF_ERROR(fields.Read(prefix + "json_object", any_object));
    return any_object ? Set(fields.Path(prefix + "json_object"), Kind::kJsonObject) : absl::OkStatus();
  }

  // The object in a field, which says by its type what is asked for. A structural tag is that object; a schema stands
  // in it, or (chat completions) in its field "json_schema".
  absl::Status ReadTyped(const JsonFields& fields, const std::string& name, bool nested) {
    std::optional<JsonFields> wanted;
    RETURN_IF_ERROR(fields.ReadObject(name, wanted));
    if (!wanted.has_value()) return absl::OkStatus();
    std::string type;
    RETURN_IF_ERROR(wanted->Read("type", type));
    if (type == "text") return absl::OkStatus();
    if (type == "json_object") return Set(wanted->Path("type"), Kind::kJsonObject);
    if (type == "structural_tag") return ReadJson(fields, name, Kind::kStructuralTag);
    if (type != "json_schema") {
      return InvalidField(wanted->Path("type"),
                          "must be \"text\", \"json_object\", \"json_schema\" or \"structural_tag\"");
    }
    std::optional<JsonFields> holder;
    if (nested) {
      RETURN_IF_ERROR(wanted->ReadObject("json_schema", holder));
    } else {
      holder.emplace(*wanted);
    }
    if (!holder.has_value() || holder->Find("schema") == nullptr) {
      return InvalidField(wanted->Path(nested ? "json_schema.schema" : "schema"),
                          "must be set where the type is \"json_schema\"");
    }
    return ReadJson(*holder, "schema", Kind::kJsonSchema);
  }

 private:
  OutputFormat& format_;
};

}  // namespace

absl::Status ReadOutputFormat(const JsonFields& fields, OutputFormat& format) {
  FormatReader reader(format);
  RETURN_IF_ERROR(reader.ReadTyped(fields, "response_format", /*nested=*/true));
  std::optional<JsonFields> structured_outputs;
  RETURN_IF_ERROR(fields.ReadObject("structured_outputs", structured_outputs));
  if (structured_outputs.has_value()) {
    RETURN_IF_ERROR(reader.ReadVllm(*structured_outputs, ""));
    RETURN_IF_ERROR(reader.ReadJson(*structured_outputs, "structural_tag", Kind::kStructuralTag));
  }
  return reader.ReadVllm(fields, "guided_");
}

absl::Status ReadFlatOutputFormat(const JsonFields& fields, const std::string& name, OutputFormat& format) {
  return FormatReader(format).ReadTyped(fields, name, /*nested=*/false);
}

}  // namespace quire
