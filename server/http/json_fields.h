// JsonFields: reads a JSON object field by field. Each complaint names the field and says what would be right.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "block_manager/ids.h"
#include "server/http/json.h"

namespace quire {

// The value as a C++ value; INVALID_ARGUMENT for `path` where it is of another type or out of that type's range. A
// number without a fraction is an integer, however it is written. One element that is wrong is named: "stop[2]".
absl::Status FromJson(const Json& json, const std::string& path, bool& value);
absl::Status FromJson(const Json& json, const std::string& path, int32_t& value);
absl::Status FromJson(const Json& json, const std::string& path, int64_t& value);
absl::Status FromJson(const Json& json, const std::string& path, float& value);
absl::Status FromJson(const Json& json, const std::string& path, std::string& value);

// INVALID_ARGUMENT "<path> must be <wanted>, got <what it is>".
absl::Status WrongType(const Json& json, const std::string& path, const char* wanted);

template <typename T>
absl::Status FromJson(const Json& json, const std::string& path, std::vector<T>& values);

class JsonFields {
 public:
  // `object` is one, and outlives this; `path` is where it stands in the request: "", "stream_options".
  explicit JsonFields(const Json& object, std::string path = "") : object_(object), path_(std::move(path)) {}

  // What stands there; null where the field is absent or JSON's null, which mean the same everywhere.
  const Json* Find(const std::string& name) const;
  std::string Path(const std::string& name) const { return path_.empty() ? name : path_ + "." + name; }

  // Leaves `value` as it is where the field is absent.
  template <typename T>
  absl::Status Read(const std::string& name, T& value) const {
    const Json* json = Find(name);
    return json == nullptr ? absl::OkStatus() : FromJson(*json, Path(name), value);
  }
  template <typename T>
  absl::Status Read(const std::string& name, std::optional<T>& value) const {
    return Find(name) == nullptr ? absl::OkStatus() : Read(name, value.emplace());
  }
  // The same for a field that there has to be.
  template <typename T>
  absl::Status ReadRequired(const std::string& name, T& value) const {
    return Find(name) == nullptr ? Missing(name) : Read(name, value);
  }
  // The object in a field; none where it is absent.
  absl::Status ReadObject(const std::string& name, std::optional<JsonFields>& fields) const;

 private:
  absl::Status Missing(const std::string& name) const;

  const Json& object_;
  const std::string path_;
};

template <typename T>
absl::Status FromJson(const Json& json, const std::string& path, std::vector<T>& values) {
  if (!json.is_array()) return WrongType(json, path, "a list");
  values.clear();
  values.reserve(json.size());
  for (const Json& element : json) {
    T value{};
    if (FromJson(element, path, value).ok()) {
      values.push_back(std::move(value));
      continue;
    }
    return FromJson(element, path + "[" + std::to_string(values.size()) + "]", value);
  }
  return absl::OkStatus();
}

}  // namespace quire
