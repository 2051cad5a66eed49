#include "server/grammar/structural_tag_reader.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <map>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "engine/types/json.h"
#include "engine/types/status_macros.h"
#include "server/grammar/ebnf.h"
#include "server/grammar/json_schema_check.h"
#include "server/grammar/regex_check.h"

namespace quire {
namespace {

absl::Status At(const std::string& path, absl::string_view problem) {
  return absl::InvalidArgumentError(absl::StrCat("at ", path, ": ", problem));
}

absl::Status CheckTexts(const Json& texts, const std::string& path) {
  const auto is_text = [](const Json& text) { return text.is_string() && !text.get_ref<const std::string&>().empty(); };
  if (texts.is_array() && std::all_of(texts.begin(), texts.end(), is_text)) return absl::OkStatus();
  return At(path, "must be a list of strings that are not empty");
}

// Reads one part after the other, and changes what xgrammar would take otherwise than it is meant.
class Reader {
 public:
  explicit Reader(int max_whitespace) : max_whitespace_(max_whitespace) {}

  absl::Status ReadFormat(Json& format, const std::string& path);
  absl::StatusOr<Json> FromStructures(Json& tag);

 private:
  using FieldReader = absl::Status (Reader::*)(Json&, const std::string&);
  struct Field {
    FieldReader reader;
    bool required = true;
  };
  using Fields = std::map<std::string, Field, std::less<>>;

  static const std::map<std::string, Fields, std::less<>>& FieldsByType();

  // `part` has the fields that it needs, besides its type, and no others.
  absl::Status ReadFields(Json& part, const Fields& fields, const std::string& path);

  absl::Status ReadTag(Json& value, const std::string& path);
  absl::Status ReadTags(Json& value, const std::string& path);
  absl::Status ReadSchema(Json& value, const std::string& path);
  absl::Status ReadString(Json& value, const std::string& path);
  absl::Status ReadBool(Json& value, const std::string& path);
  absl::Status ReadTexts(Json& value, const std::string& path);
  absl::Status ReadTriggers(Json& value, const std::string& path);
  absl::Status ReadEnd(Json& value, const std::string& path);
  absl::Status ReadStyle(Json& value, const std::string& path);
  absl::Status ReadWhitespace(Json& value, const std::string& path);
  absl::Status ReadCount(Json& value, const std::string& path);
  absl::Status ReadRegex(Json& value, const std::string& path);
  absl::Status ReadGrammar(Json& value, const std::string& path);
  absl::Status ReadFormats(Json& value, const std::string& path);
  absl::Status ReadRules(Json& value, const std::string& path);
  absl::Status RefuseBudget(Json& value, const std::string& path);
  absl::Status RefuseAnyOrder(Json& value, const std::string& path);

  const int max_whitespace_;
};

const std::map<std::string, Reader::Fields, std::less<>>& Reader::FieldsByType() {
  static const Field text{&Reader::ReadString}, content{&Reader::ReadFormat}, count{&Reader::ReadCount};
  static const Field flag{&Reader::ReadBool, false}, excludes{&Reader::ReadTexts, false};
  static const Field budget{&Reader::RefuseBudget, false};
  static const std::map<std::string, Fields, std::less<>> fields = {
      {"const_string", {{"value", text}}},
      {"json_schema",
       {{"json_schema", {&Reader::ReadSchema}},
        {"style", {&Reader::ReadStyle, false}},
        {"max_whitespace_cnt", {&Reader::ReadWhitespace, false}},
        {"any_order", {&Reader::RefuseAnyOrder, false}},
        {"excludes", excludes}}},
      {"regex", {{"pattern", {&Reader::ReadRegex}}}},
      {"grammar", {{"grammar", {&Reader::ReadGrammar}}}},
      {"any_text", {{"excludes", excludes}, {"max_tokens", budget}, {"max_chars", budget}}},
      {"sequence", {{"elements", {&Reader::ReadFormats}}}},
      {"or", {{"elements", {&Reader::ReadFormats}}}},
      {"optional", {{"content", content}}},
      {"plus", {{"content", content}}},
      {"star", {{"content", content}}},
      {"repeat", {{"min", count}, {"max", count}, {"content", content}}},
      {"tag", {{"begin", text}, {"content", content}, {"end", {&Reader::ReadEnd}}}},
      {"triggered_tags",
       {{"triggers", {&Reader::ReadTriggers}},
        {"tags", {&Reader::ReadTags}},
        {"excludes", excludes},
        {"at_least_one", flag},
        {"stop_after_first", flag}}},
      {"tags_with_separator",
       {{"tags", {&Reader::ReadTags}}, {"separator", text}, {"at_least_one", flag}, {"stop_after_first", flag}}},
      {"dispatch", {{"rules", {&Reader::ReadRules}}, {"loop", flag}, {"excludes", excludes}}},
  };
  return fields;
}

absl::Status Reader::ReadFields(Json& part, const Fields& fields, const std::string& path) {
  std::vector<std::string> absent;  // A null means the same.
  for (auto it = part.begin(); it != part.end(); ++it) {
    if (it->is_null()) absent.push_back(it.key());
    if (it->is_null() || it.key() == "type") continue;
    const auto field = fields.find(it.key());
    if (field == fields.end()) return At(path, absl::StrCat("the field \"", it.key(), "\" is not supported"));
    RETURN_IF_ERROR((this->*field->second.reader)(*it, absl::StrCat(path, ".", it.key())));
  }
  for (const std::string& name : absent) part.erase(name);
  for (const auto& [name, field] : fields) {
    if (field.required && !part.contains(name)) return At(path, absl::StrCat("\"", name, "\" must be set"));
  }
  return absl::OkStatus();
}

absl::Status Reader::ReadFormat(Json& format, const std::string& path) {
  const auto& known = FieldsByType();
  const auto type = format.is_object() ? format.find("type") : format.end();
  if (!format.is_object() || type == format.end() || !type->is_string()) {
    return At(path, "must be an object with a \"type\"");
  }
  const std::string name = *type;
  const auto fields = known.find(name);
  if (fields == known.end()) return At(path, absl::StrCat("the type \"", name, "\" is not supported"));
  RETURN_IF_ERROR(ReadFields(format, fields->second, path));
  if (name == "regex") format = {{"type", "grammar"}, {"grammar", EbnfOfRegex(format["pattern"].get<std::string>())}};
  if (name == "json_schema" && !format.contains("max_whitespace_cnt")) format["max_whitespace_cnt"] = max_whitespace_;
  if (name == "repeat" && format["max"] != -1 && format["max"] < format["min"]) {
    return At(path, "\"max\" must be -1 or at least \"min\"");
  }
  if (name != "triggered_tags") return absl::OkStatus();
  // xgrammar would let such a trigger stand in a text, and nothing follow from it.
  for (const Json& trigger : format["triggers"]) {
    const bool used = std::any_of(format["tags"].begin(), format["tags"].end(), [&](const Json& tag) {
      return absl::StartsWith(tag["begin"].get_ref<const std::string&>(), trigger.get_ref<const std::string&>());
    });
    if (!used) return At(path, absl::StrCat("no tag begins with the trigger ", trigger.dump()));
  }
  return absl::OkStatus();
}

absl::Status Reader::ReadTag(Json& tag, const std::string& path) {
  if (tag.is_object() && !tag.contains("type")) tag["type"] = "tag";
  RETURN_IF_ERROR(ReadFormat(tag, path));
  return tag["type"] == "tag" ? absl::OkStatus() : At(path, "must be of type \"tag\"");
}

absl::Status Reader::ReadTags(Json& tags, const std::string& path) {
  if (!tags.is_array() || tags.empty()) return At(path, "must be a list of tags");
  for (size_t i = 0; i < tags.size(); ++i) RETURN_IF_ERROR(ReadTag(tags[i], absl::StrCat(path, "[", i, "]")));
  return absl::OkStatus();
}

// A schema stands there as it is, or as text.
absl::Status Reader::ReadSchema(Json& schema, const std::string& path) {
  if (schema.is_string()) {
    absl::StatusOr<Json> parsed = ParseJson(schema.get_ref<const std::string&>());
    if (!parsed.ok()) return At(path, parsed.status().message());
    schema = *std::move(parsed);
  }
  const absl::Status status = CheckJsonSchema(schema.dump());
  if (status.ok()) return status;
  absl::string_view problem = status.message();
  // Its paths begin where the schema is.
  return absl::ConsumePrefix(&problem, "at $") ? absl::InvalidArgumentError(absl::StrCat("at ", path, problem))
                                               : At(path, problem);
}

absl::Status Reader::ReadString(Json& value, const std::string& path) {
  return value.is_string() ? absl::OkStatus() : At(path, "must be a string");
}

absl::Status Reader::ReadBool(Json& value, const std::string& path) {
  return value.is_boolean() ? absl::OkStatus() : At(path, "must be true or false");
}

absl::Status Reader::ReadTexts(Json& value, const std::string& path) { return CheckTexts(value, path); }

absl::Status Reader::ReadTriggers(Json& value, const std::string& path) {
  RETURN_IF_ERROR(CheckTexts(value, path));
  return value.empty() ? At(path, "must have at least one trigger") : absl::OkStatus();
}

absl::Status Reader::ReadEnd(Json& value, const std::string& path) {
  if (value.is_string()) return absl::OkStatus();
  const auto is_string = [](const Json& end) { return end.is_string(); };
  const bool ends = value.is_array() && !value.empty() && std::all_of(value.begin(), value.end(), is_string);
  return ends ? absl::OkStatus() : At(path, "must be a string or a list of strings");
}

absl::Status Reader::ReadStyle(Json& value, const std::string& path) {
  return value == "json" ? absl::OkStatus() : At(path, "must be \"json\"; other styles are not supported");
}

absl::Status Reader::ReadWhitespace(Json& value, const std::string& path) {
  if (!value.is_number_integer() || value < 0) return At(path, "must be an integer of at least 0");
  if (value > max_whitespace_) value = max_whitespace_;
  return absl::OkStatus();
}

absl::Status Reader::ReadCount(Json& value, const std::string& path) {
  const bool is_max = absl::EndsWith(path, ".max");
  if (value.is_number_integer() && value >= (is_max ? -1 : 0) && value <= std::numeric_limits<int32_t>::max()) {
    return absl::OkStatus();
  }
  return At(path, is_max ? "must be -1, for as often as you like, or a 32-bit integer of at least 0"
                         : "must be a 32-bit integer of at least 0");
}

absl::Status Reader::ReadRegex(Json& value, const std::string& path) {
  RETURN_IF_ERROR(ReadString(value, path));
  if (value == "") return At(path, "must not be empty");
  const absl::Status status = CheckRegex(value.get_ref<const std::string&>());
  return status.ok() ? status : At(path, status.message());
}

absl::Status Reader::ReadGrammar(Json& value, const std::string& path) {
  RETURN_IF_ERROR(ReadString(value, path));
  if (value == "") return At(path, "must not be empty");
  const absl::Status status = CheckEbnf(value.get_ref<const std::string&>());
  return status.ok() ? status : At(path, status.message());
}

absl::Status Reader::ReadFormats(Json& value, const std::string& path) {
  if (!value.is_array() || value.empty()) return At(path, "must be a list of formats");
  for (size_t i = 0; i < value.size(); ++i) RETURN_IF_ERROR(ReadFormat(value[i], absl::StrCat(path, "[", i, "]")));
  return absl::OkStatus();
}

// [[trigger, what follows it], ...]
absl::Status Reader::ReadRules(Json& value, const std::string& path) {
  if (!value.is_array() || value.empty()) return At(path, "must be a list of triggers and formats");
  for (size_t i = 0; i < value.size(); ++i) {
    const std::string place = absl::StrCat(path, "[", i, "]");
    Json& rule = value[i];
    if (!rule.is_array() || rule.size() != 2 || !CheckTexts(Json::array({rule[0]}), place).ok()) {
      return At(place, "must be a list of a trigger, which must be a string that is not empty, and a format");
    }
    RETURN_IF_ERROR(ReadFormat(rule[1], place + "[1]"));
  }
  return absl::OkStatus();
}

// For these its masks allow tokens that it then does not accept.
absl::Status Reader::RefuseBudget(Json& /*value*/, const std::string& path) {
  return At(path, "is not supported: length cannot be bounded there");
}

// It would count properties, and neither ask for the required ones nor keep one from coming twice.
absl::Status Reader::RefuseAnyOrder(Json& value, const std::string& path) {
  return value == false ? absl::OkStatus() : At(path, "must be false: properties come in the order of the schema");
}

// The older form: free text, in which a trigger begins one of the structures.
absl::StatusOr<Json> Reader::FromStructures(Json& tag) {
  static const Fields fields = {
      {"begin", {&Reader::ReadString}}, {"schema", {&Reader::ReadSchema}}, {"end", {&Reader::ReadString}}};
  Json structures = std::move(tag["structures"]), triggers = std::move(tag["triggers"]);
  if (!structures.is_array() || structures.empty()) return At("$.structures", "must be a list of structures");
  RETURN_IF_ERROR(ReadTriggers(triggers, "$.triggers"));
  Json tags = Json::array();
  for (size_t i = 0; i < structures.size(); ++i) {
    const std::string path = absl::StrCat("$.structures[", i, "]");
    if (!structures[i].is_object()) return At(path, "must be an object");
    RETURN_IF_ERROR(ReadFields(structures[i], fields, path));
    const Json content = {{"type", "json_schema"}, {"json_schema", std::move(structures[i]["schema"])}};
    tags.push_back({{"begin", structures[i]["begin"]}, {"content", content}, {"end", structures[i]["end"]}});
  }
  return Json({{"type", "triggered_tags"}, {"triggers", triggers}, {"tags", std::move(tags)}});
}

}  // namespace

absl::StatusOr<std::string> ReadStructuralTag(std::string_view tag, int max_whitespace) {
  absl::StatusOr<Json> parsed = ParseJson(tag);
  if (!parsed.ok()) return absl::InvalidArgumentError(absl::StrCat("must be JSON: ", parsed.status().message()));
  if (!parsed->is_object()) return absl::InvalidArgumentError("must be a JSON object");
  const bool older = !parsed->contains("format");
  for (const auto& [name, value] : parsed->items()) {
    if (name == "type" && value != "structural_tag") return At("$.type", "must be \"structural_tag\"");
    const bool known = name == "type" || (older ? name == "structures" || name == "triggers" : name == "format");
    if (!known) return At("$", absl::StrCat("the field \"", name, "\" is not supported"));
  }
  if (older && !parsed->contains("structures") && !parsed->contains("triggers")) {
    return At("$", "\"format\" must be set, or \"structures\" and \"triggers\"");
  }
  Reader reader(max_whitespace);
  Json format;
  if (older) {
    ASSIGN_OR_RETURN(format, reader.FromStructures(*parsed));
  } else {
    format = std::move((*parsed)["format"]);
  }
  RETURN_IF_ERROR(reader.ReadFormat(format, older ? "$" : "$.format"));
  return Json({{"type", "structural_tag"}, {"format", std::move(format)}}).dump();
}

}  // namespace quire
