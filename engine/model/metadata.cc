#include "engine/model/metadata.h"

#include <limits>

#include "absl/strings/str_cat.h"
#include "engine/types/status_macros.h"
#include "engine/types/string_view.h"

namespace quire {
namespace {

// To the caller a key that is missing from a file is a fault of the file.
template <typename T>
absl::StatusOr<T> Required(absl::StatusOr<T> value) {
  if (absl::IsNotFound(value.status())) return absl::InvalidArgumentError(value.status().message());
  return value;
}

}  // namespace

std::string Metadata::Key(std::string_view name) const { return absl::StrCat(architecture_, ".", AbslView(name)); }

absl::StatusOr<int> Metadata::Int(std::string_view name) const {
  ASSIGN_OR_RETURN(const int64_t value, Required(checkpoint_.GetInt(Key(name))));
  if (value < std::numeric_limits<int>::min() || value > std::numeric_limits<int>::max()) {
    return absl::InvalidArgumentError(absl::StrCat("metadata '", Key(name), "' is out of range: ", value));
  }
  return static_cast<int>(value);
}

absl::StatusOr<double> Metadata::Float(std::string_view name) const {
  return Required(checkpoint_.GetFloat(Key(name)));
}

absl::StatusOr<std::string> Metadata::String(std::string_view name) const {
  return Required(checkpoint_.GetString(Key(name)));
}

absl::StatusOr<std::vector<std::string>> Metadata::Strings(std::string_view name) const {
  return Required(checkpoint_.GetStrings(Key(name)));
}

absl::StatusOr<int> Metadata::IntOr(std::string_view name, int default_value) const {
  if (!checkpoint_.Has(Key(name))) return default_value;
  return Int(name);
}

absl::StatusOr<double> Metadata::FloatOr(std::string_view name, double default_value) const {
  if (!checkpoint_.Has(Key(name))) return default_value;
  return Float(name);
}

absl::StatusOr<std::string> Metadata::StringOr(std::string_view name, std::string_view default_value) const {
  if (!checkpoint_.Has(Key(name))) return std::string(default_value);
  return String(name);
}

absl::StatusOr<bool> Metadata::BoolOr(std::string_view name, bool default_value) const {
  if (!checkpoint_.Has(Key(name))) return default_value;
  return checkpoint_.GetBool(Key(name));
}

}  // namespace quire
