#include "server/http/json_fields.h"

#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "engine/types/status_macros.h"
#include "server/status_details.h"

namespace quire {
namespace {

template <typename Integer>
absl::Status IntegerFromJson(const Json& json, const std::string& path, Integer& value) {
  constexpr auto kLowest = std::numeric_limits<Integer>::min();
  constexpr auto kHighest = std::numeric_limits<Integer>::max();
  if (!json.is_number()) return WrongType(json, path, "an integer");
  bool fits = false;
  if (json.is_number_unsigned()) {
    fits = json.get<uint64_t>() <= static_cast<uint64_t>(kHighest);
  } else if (json.is_number_integer()) {
    fits = json.get<int64_t>() >= kLowest && json.get<int64_t>() <= kHighest;
  } else {
    const double number = json.get<double>();
    if (number != std::floor(number)) return WrongType(json, path, "an integer");
    fits = number >= static_cast<double>(kLowest) && number < -static_cast<double>(kLowest);
  }
  if (!fits) {
    return InvalidField(path, absl::StrCat("must be in [", kLowest, ", ", kHighest, "], got ", AbslView(ToText(json))));
  }
  value = json.get<Integer>();
  return absl::OkStatus();
}

// Short, whatever it is.
std::string Describe(const Json& json) {
  if (json.is_number()) return ToText(json);
  if (json.is_null()) return "null";
  if (json.is_array()) return "a list";
  return absl::StrCat(json.is_object() ? "an " : "a ", json.type_name());
}

}  // namespace

absl::Status WrongType(const Json& json, const std::string& path, const char* wanted) {
  return InvalidField(path, absl::StrCat("must be ", wanted, ", got ", Describe(json)));
}

absl::Status FromJson(const Json& json, const std::string& path, bool& value) {
  if (!json.is_boolean()) return WrongType(json, path, "true or false");
  value = json.get<bool>();
  return absl::OkStatus();
}

absl::Status FromJson(const Json& json, const std::string& path, int32_t& value) {
  return IntegerFromJson(json, path, value);
}

absl::Status FromJson(const Json& json, const std::string& path, int64_t& value) {
  return IntegerFromJson(json, path, value);
}

absl::Status FromJson(const Json& json, const std::string& path, float& value) {
  if (!json.is_number()) return WrongType(json, path, "a number");
  value = static_cast<float>(json.get<double>());
  return absl::OkStatus();
}

absl::Status FromJson(const Json& json, const std::string& path, std::string& value) {
  if (!json.is_string()) return WrongType(json, path, "a string");
  value = json.get_ref<const std::string&>();
  return absl::OkStatus();
}

const Json* JsonFields::Find(const std::string& name) const {
  const auto it = object_.find(name);
  return it == object_.end() || it->is_null() ? nullptr : &*it;
}

absl::Status JsonFields::Missing(const std::string& name) const { return InvalidField(Path(name), "must be set"); }

absl::Status JsonFields::ReadObject(const std::string& name, std::optional<JsonFields>& fields) const {
  const Json* json = Find(name);
  if (json == nullptr) return absl::OkStatus();
  if (!json->is_object()) return WrongType(*json, Path(name), "an object");
  fields.emplace(*json, Path(name));
  return absl::OkStatus();
}

}  // namespace quire
