#include "engine/types/json.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

namespace quire {
namespace {

// Builds the value. The parser of the library looks every key up among those before it.
class Builder : public nlohmann::json_sax<Json> {
 public:
  bool null() override { return Add(nullptr); }
  bool boolean(bool value) override { return Add(value); }
  bool number_integer(number_integer_t value) override { return Add(value); }
  bool number_unsigned(number_unsigned_t value) override { return Add(value); }
  bool number_float(number_float_t value, const string_t& /*text*/) override { return Add(value); }
  bool string(string_t& value) override { return Add(std::move(value)); }
  bool binary(binary_t& /*value*/) override { return false; }
  bool start_array(size_t /*size*/) override { return Open(Json::array()); }
  bool end_array() override { return Close(); }
  bool start_object(size_t /*size*/) override { return Open(Json::object()); }
  bool key(string_t& value) override {
    keys_.push_back(std::move(value));
    return true;
  }
  bool end_object() override { return KeysDiffer() && Close(); }
  bool parse_error(size_t position, const std::string& /*token*/, const Json::exception& /*error*/) override {
    return Fail(absl::StrCat("is not valid JSON at byte ", position));
  }

  absl::StatusOr<Json> Take() {
    if (!error_.empty()) return absl::InvalidArgumentError(error_);
    return std::move(root_);
  }

 private:
  bool Fail(std::string error) {
    error_ = std::move(error);
    return false;
  }

  bool MayAdd() {
    return ++num_values_ <= kMaxJsonValues || Fail(absl::StrCat("has more than ", kMaxJsonValues, " values"));
  }
  Json* Place(Json value) {
    if (open_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    if (open_.back()->is_array()) {
      open_.back()->push_back(std::move(value));
      return &open_.back()->back();
    }
    std::vector<Json::object_t::value_type>& members = open_.back()->get_ref<Json::object_t&>();
    members.emplace_back(std::move(keys_.back()), std::move(value));
    keys_.pop_back();
    return &members.back().second;
  }
  bool Add(Json value) { return MayAdd() && Place(std::move(value)) != nullptr; }
  bool Open(Json container) {
    if (open_.size() == kMaxJsonDepth) return Fail(absl::StrCat("is nested more than ", kMaxJsonDepth, " deep"));
    if (!MayAdd()) return false;
    open_.push_back(Place(std::move(container)));
    return true;
  }
  bool Close() {
    open_.pop_back();
    return true;
  }
  bool KeysDiffer() {
    std::vector<std::string_view> keys;
    for (const auto& [name, value] : open_.back()->get_ref<const Json::object_t&>()) keys.push_back(name);
    std::sort(keys.begin(), keys.end());
    const auto twice = std::adjacent_find(keys.begin(), keys.end());
    return twice == keys.end() || Fail(absl::StrCat("has the key \"", std::string(*twice), "\" twice in one object"));
  }

  Json root_;
  std::vector<Json*> open_;  // Containers that have begun, outermost first; none grows while an inner one is open.
  std::vector<std::string> keys_;  // Whose values are to come.
  int num_values_ = 0;
  std::string error_;
};

}  // namespace

absl::StatusOr<Json> ParseJson(std::string_view text) {
  Builder builder;
  Json::sax_parse(text.begin(), text.end(), &builder);
  return builder.Take();
}

}  // namespace quire
