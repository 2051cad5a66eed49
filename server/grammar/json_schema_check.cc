#include "server/grammar/json_schema_check.h"

#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "engine/types/status_macros.h"
#include "server/grammar/regex_check.h"

namespace quire {
namespace {

using Json = nlohmann::ordered_json;
using Names = std::set<std::string, std::less<>>;

constexpr int kMaxDepth = 64;

// Keywords that say nothing about what is accepted. A format is one of them by the standard; those that the compiler
// knows are followed nevertheless.
const Names kAnnotations = {"title",    "description", "default",  "examples",     "example", "deprecated",
                            "readOnly", "writeOnly",   "$comment", "$schema",      "$id",     "$defs",
                            "format",   "definitions", "nullable", "discriminator"};
const Names kStringKeywords = {"minLength", "maxLength", "pattern"};
const Names kNumberKeywords = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"};
const Names kArrayKeywords = {"items", "prefixItems", "minItems", "maxItems", "unevaluatedItems"};
const Names kObjectKeywords = {"properties",        "required",      "additionalProperties", "unevaluatedProperties",
                               "patternProperties", "propertyNames", "minProperties",        "maxProperties"};
// Of these the first that is there decides, and nothing else may stand beside it.
constexpr const char* kDeciding[] = {"$ref", "const", "enum", "anyOf", "oneOf", "allOf"};

absl::Status At(const std::string& path, const std::string& problem) {
  return absl::InvalidArgumentError(absl::StrCat("at ", path, ": ", problem));
}

const Names* KeywordsOf(const std::string& type) {
  static const Names none;
  if (type == "string") return &kStringKeywords;
  if (type == "integer" || type == "number") return &kNumberKeywords;
  if (type == "array") return &kArrayKeywords;
  if (type == "object") return &kObjectKeywords;
  if (type == "boolean" || type == "null") return &none;
  return nullptr;
}

bool HasType(const Json& value, const std::string& type) {
  if (type == "integer") return value.is_number_integer();
  if (type == "number") return value.is_number();
  return type == (value.is_boolean() ? "boolean" : value.type_name());
}

// "type" as a list of names; what types without one are meant, by what else is there.
absl::StatusOr<std::vector<std::string>> TypesOf(const Json& schema, const std::string& path) {
  const auto type = schema.find("type");
  std::vector<std::string> types;
  if (type == schema.end()) {
    const auto any_of = [&](const Names& names) {
      return std::any_of(names.begin(), names.end(), [&](const std::string& name) { return schema.contains(name); });
    };
    if (any_of({"properties", "additionalProperties", "unevaluatedProperties"}))
      types.push_back("object");
    else if (any_of({"items", "prefixItems", "unevaluatedItems"}))
      types.push_back("array");
    return types;
  }
  for (const Json& name : type->is_array() ? *type : Json::array({*type})) {
    if (!name.is_string() || KeywordsOf(name.get<std::string>()) == nullptr) {
      return At(path, absl::StrCat("\"type\" must name types of JSON, got ", name.dump().substr(0, 40)));
    }
    types.push_back(name.get<std::string>());
  }
  if (types.empty()) return At(path, "\"type\" must not be empty");
  return types;
}

class Checker {
 public:
  absl::Status Check(const Json& schema, const std::string& path) {
    if (schema.is_boolean()) return absl::OkStatus();
    if (!schema.is_object()) return At(path, "a schema must be an object or a boolean");
    for (const char* keyword : kDeciding) {
      if (schema.contains(keyword)) return CheckDecided(schema, keyword, path);
    }
    ASSIGN_OR_RETURN(const std::vector<std::string> types, TypesOf(schema, path));
    for (const auto& [name, value] : schema.items()) {
      if (name == "type" || kAnnotations.contains(name)) continue;
      if (name == "uniqueItems" && value == false) continue;
      const bool known = std::any_of(types.begin(), types.end(),
                                     [&](const std::string& type) { return KeywordsOf(type)->contains(name); });
      if (!known) return Unsupported(name, types, path);
    }
    RETURN_IF_ERROR(CheckRequired(schema, path));
    RETURN_IF_ERROR(CheckPatterns(schema, path));
    return CheckParts(schema, path);
  }

  // Definitions that are referred to; others would do no harm, but a typing error in them is one.
  absl::Status CheckDefinitions(const Json& schema, const std::string& path) {
    for (const char* keyword : {"$defs", "definitions"}) {
      if (schema.is_object() && schema.contains(keyword)) RETURN_IF_ERROR(CheckEach(schema, keyword, path));
    }
    return absl::OkStatus();
  }

 private:
  static absl::Status Unsupported(const std::string& name, const std::vector<std::string>& types,
                                  const std::string& path) {
    const Names* const all[] = {&kStringKeywords, &kNumberKeywords, &kArrayKeywords, &kObjectKeywords};
    for (const Names* names : all) {
      if (!names->contains(name)) continue;
      return At(path, types.empty() ? absl::StrCat("\"", name, "\" needs a \"type\" beside it")
                                    : absl::StrCat("\"", name, "\" does not go with type \"", types[0], "\""));
    }
    return At(path, absl::StrCat("the keyword \"", name, "\" is not supported"));
  }

  absl::Status CheckDecided(const Json& schema, const std::string& deciding, const std::string& path) {
    const bool is_value = deciding == "const" || deciding == "enum";
    for (const auto& [name, value] : schema.items()) {
      if (name == deciding || kAnnotations.contains(name) || (is_value && name == "type")) continue;
      return At(path, absl::StrCat("\"", name, "\" beside \"", deciding, "\" is not supported"));
    }
    const Json& value = schema.at(deciding);
    if (is_value) return CheckValues(schema, deciding == "const" ? Json::array({value}) : value, path);
    if (deciding == "$ref") return CheckReference(value, path);
    if (!value.is_array() || value.empty())
      return At(path, absl::StrCat("\"", deciding, "\" must be a list of schemas"));
    if (deciding == "allOf" && value.size() > 1) return At(path, "\"allOf\" of more than one schema is not supported");
    return CheckEach(schema, deciding, path);
  }

  // Only to where schemas are that were checked.
  static absl::Status CheckReference(const Json& value, const std::string& path) {
    const std::string target = value.is_string() ? value.get<std::string>() : "";
    const auto begins_with = [&](std::string_view prefix) { return target.compare(0, prefix.size(), prefix) == 0; };
    if (target == "#" || begins_with("#/$defs/") || begins_with("#/definitions/") || begins_with("#/properties/")) {
      return absl::OkStatus();
    }
    return At(path, "\"$ref\" must be \"#\" or begin with \"#/$defs/\", \"#/definitions/\" or \"#/properties/\"");
  }

  static absl::Status CheckValues(const Json& schema, const Json& values, const std::string& path) {
    if (!values.is_array() || values.empty()) return At(path, "\"enum\" must be a list of values");
    if (!schema.contains("type")) return absl::OkStatus();
    ASSIGN_OR_RETURN(const std::vector<std::string> types, TypesOf(schema, path));
    for (const Json& value : values) {
      const bool fits =
          std::any_of(types.begin(), types.end(), [&](const std::string& type) { return HasType(value, type); });
      if (!fits) return At(path, absl::StrCat(value.dump().substr(0, 40), " is not of the \"type\" beside it"));
    }
    return absl::OkStatus();
  }

  static absl::Status CheckRequired(const Json& schema, const std::string& path) {
    const auto required = schema.find("required");
    if (required == schema.end()) return absl::OkStatus();
    if (!required->is_array()) return At(path, "\"required\" must be a list of names");
    for (const Json& name : *required) {
      if (!name.is_string()) return At(path, "\"required\" must be a list of names");
      if (!schema.contains("properties") || !schema["properties"].contains(name.get<std::string>())) {
        return At(path,
                  absl::StrCat("\"required\" names ", name.dump().substr(0, 80), ", which is not in \"properties\""));
      }
    }
    return absl::OkStatus();
  }

  static absl::Status CheckPatterns(const Json& schema, const std::string& path) {
    const auto check = [&](const std::string& pattern) {
      const absl::Status status = CheckRegex(pattern);
      return status.ok() ? status : At(path, absl::StrCat("a pattern ", status.message()));
    };
    if (const auto pattern = schema.find("pattern"); pattern != schema.end()) {
      if (!pattern->is_string()) return At(path, "\"pattern\" must be a string");
      RETURN_IF_ERROR(check(pattern->get<std::string>()));
    }
    if (const auto patterns = schema.find("patternProperties"); patterns != schema.end()) {
      for (const auto& [pattern, part] : patterns->items()) RETURN_IF_ERROR(check(pattern));
    }
    return absl::OkStatus();
  }

  // The schemas inside one.
  absl::Status CheckParts(const Json& schema, const std::string& path) {
    for (const char* keyword :
         {"items", "unevaluatedItems", "additionalProperties", "unevaluatedProperties", "propertyNames"}) {
      if (keyword == std::string_view("propertyNames") && schema.contains(keyword)) {
        Json names = schema[keyword];  // Names are strings, which need not be said.
        if (names.is_object() && !names.contains("type")) names["type"] = "string";
        RETURN_IF_ERROR(Check(names, absl::StrCat(path, ".", keyword)));
      } else if (schema.contains(keyword)) {
        RETURN_IF_ERROR(Check(schema[keyword], absl::StrCat(path, ".", keyword)));
      }
    }
    for (const char* keyword : {"properties", "patternProperties", "prefixItems"}) {
      if (schema.contains(keyword)) RETURN_IF_ERROR(CheckEach(schema, keyword, path));
    }
    return absl::OkStatus();
  }

  absl::Status CheckEach(const Json& schema, const std::string& keyword, const std::string& path) {
    const Json& parts = schema.at(keyword);
    if (!parts.is_structured()) return At(path, absl::StrCat("\"", keyword, "\" must hold schemas"));
    for (const auto& [name, part] : parts.items()) {
      const std::string where = parts.is_array() ? absl::StrCat("[", name, "]") : absl::StrCat(".", name.substr(0, 60));
      RETURN_IF_ERROR(Check(part, absl::StrCat(path, ".", keyword, where)));
    }
    return absl::OkStatus();
  }
};

}  // namespace

absl::Status CheckJsonSchema(std::string_view schema) {
  bool too_deep = false;
  const auto watch_depth = [&too_deep](int depth, Json::parse_event_t /*event*/, Json& /*parsed*/) {
    too_deep |= depth > kMaxDepth;
    return !too_deep;  // What is left out below is not built.
  };
  Json parsed;
  try {
    parsed = Json::parse(schema, watch_depth);
  } catch (const Json::exception& error) {
    return absl::InvalidArgumentError(absl::StrCat("must be JSON: ", error.what()));
  }
  if (too_deep) return absl::InvalidArgumentError(absl::StrCat("must not be nested deeper than ", kMaxDepth));
  Checker checker;
  RETURN_IF_ERROR(checker.Check(parsed, "$"));
  return checker.CheckDefinitions(parsed, "$");
}

}  // namespace quire
