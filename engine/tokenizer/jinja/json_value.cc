#include "engine/tokenizer/jinja/json_value.h"

#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/types/status_macros.h"

namespace quire::jinja {
namespace {

Value FromNumber(const Json& json) {
  constexpr uint64_t kMax = std::numeric_limits<int64_t>::max();
  if (json.is_number_float() || (json.is_number_unsigned() && json.get<uint64_t>() > kMax)) return json.get<double>();
  return json.get<int64_t>();
}

absl::StatusOr<Value> FromJsonAt(const Json& json, int depth, Budget& budget) {
  if (depth > kMaxValueDepth) return absl::InvalidArgumentError("lists and dicts are nested too deeply");
  if (json.is_string()) return Value::MakeString(json.get<std::string>(), budget);
  if (json.is_boolean()) return Value(json.get<bool>());
  if (json.is_number()) return FromNumber(json);
  if (json.is_array()) {
    std::vector<Value> items;
    for (const Json& item : json) {
      ASSIGN_OR_RETURN(items.emplace_back(), FromJsonAt(item, depth + 1, budget));
    }
    return Value::MakeList(std::move(items), budget);
  }
  if (json.is_object()) {
    std::vector<std::pair<std::string, Value>> items;
    for (const auto& [key, item] : json.get_ref<const Json::object_t&>()) {
      RETURN_IF_ERROR(budget.Charge(key.size()));
      ASSIGN_OR_RETURN(Value value, FromJsonAt(item, depth + 1, budget));
      items.emplace_back(key, std::move(value));
    }
    return Value::MakeDict(std::move(items), budget);
  }
  return Value(None());
}

class Writer {
 public:
  Writer(const JsonStyle& style, TextBuilder& out) : style_(style), out_(out) {}

  absl::Status Write(const Value& value, int level) {
    if (const List* list = value.AsList()) return WriteList(*list, level);
    if (const Dict* dict = value.AsDict()) return WriteDict(*dict, level);
    if (const std::string* text = value.AsString()) return WriteString(*text);
    if (value.Is<bool>()) return out_.Append(value.As<bool>() ? "true" : "false");
    if (value.Is<int64_t>()) return out_.Append(absl::StrCat(value.As<int64_t>()));
    if (value.Is<double>()) return out_.Append(FloatText(value.As<double>()));
    if (value.Is<None>()) return out_.Append("null");
    return absl::InvalidArgumentError(absl::StrCat("tojson cannot write a value of type ", value.TypeName()));
  }

 private:
  absl::Status WriteString(const std::string& text) {
    return out_.Append(Json(text).dump(-1, ' ', style_.ensure_ascii, Json::error_handler_t::replace));
  }
  absl::Status NewLine(int level) {
    if (style_.indent < 0) return absl::OkStatus();
    return out_.Append("\n" + std::string(style_.indent * level, ' '));
  }
  absl::Status BeginItem(bool first, int level) {
    if (!first) RETURN_IF_ERROR(out_.Append(style_.item_separator));
    return NewLine(level);
  }

  absl::Status WriteList(const List& list, int level) {
    RETURN_IF_ERROR(out_.Append("["));
    for (const Value& item : list.items) {
      RETURN_IF_ERROR(BeginItem(&item == &list.items.front(), level + 1));
      RETURN_IF_ERROR(Write(item, level + 1));
    }
    if (!list.items.empty()) RETURN_IF_ERROR(NewLine(level));
    return out_.Append("]");
  }

  absl::Status WriteDict(const Dict& dict, int level) {
    std::vector<const std::pair<std::string, Value>*> items;
    for (const auto& item : dict.items) items.push_back(&item);
    if (style_.sort_keys) {
      std::sort(items.begin(), items.end(), [](const auto* a, const auto* b) { return a->first < b->first; });
    }
    RETURN_IF_ERROR(out_.Append("{"));
    for (const auto* item : items) {
      RETURN_IF_ERROR(BeginItem(item == items.front(), level + 1));
      RETURN_IF_ERROR(WriteString(item->first));
      RETURN_IF_ERROR(out_.Append(style_.key_separator));
      RETURN_IF_ERROR(Write(item->second, level + 1));
    }
    if (!items.empty()) RETURN_IF_ERROR(NewLine(level));
    return out_.Append("}");
  }

  const JsonStyle& style_;
  TextBuilder& out_;
};

}  // namespace

absl::StatusOr<Value> FromJson(const Json& json, Budget& budget) { return FromJsonAt(json, 0, budget); }

absl::Status AppendJson(const Value& value, const JsonStyle& style, TextBuilder& out) {
  return Writer(style, out).Write(value, 0);
}

}  // namespace quire::jinja
