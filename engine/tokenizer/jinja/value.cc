#include "engine/tokenizer/jinja/value.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/types/status_macros.h"
#include "engine/types/string_view.h"

namespace quire::jinja {
namespace {

constexpr size_t kItemUnits = 32;  // About what an item of a list takes.

// Checks what goes into a container, and counts how deep it is.
absl::Status Admit(const Value& item, int& depth) {
  if (item.AsNamespace() != nullptr) return absl::InvalidArgumentError("a namespace cannot be put into a list or dict");
  const int item_depth = item.AsList() ? item.AsList()->depth : item.AsDict() ? item.AsDict()->depth : 0;
  depth = std::max(depth, item_depth + 1);
  if (depth > kMaxValueDepth) return absl::InvalidArgumentError("lists and dicts are nested too deeply");
  return absl::OkStatus();
}

// What stands for a byte inside quotes; nothing if it stands for itself.
std::string Escaped(char byte, char quote) {
  if (byte == quote || byte == '\\') return {'\\', byte};
  if (byte == '\n') return "\\n";
  if (byte == '\r') return "\\r";
  if (byte == '\t') return "\\t";
  const bool control = static_cast<uint8_t>(byte) < 0x20 || byte == 0x7F;
  return control ? absl::StrFormat("\\x%02x", byte) : "";
}

absl::Status AppendQuoted(std::string_view text, char quote, TextBuilder& out) {
  RETURN_IF_ERROR(out.Append({&quote, 1}));
  size_t plain = 0;  // Where the run of bytes that stand for themselves begins.
  for (size_t i = 0; i < text.size(); ++i) {
    const std::string escaped = Escaped(text[i], quote);
    if (escaped.empty()) continue;
    RETURN_IF_ERROR(out.Append(text.substr(plain, i - plain)));
    RETURN_IF_ERROR(out.Append(escaped));
    plain = i + 1;
  }
  RETURN_IF_ERROR(out.Append(text.substr(plain)));
  return out.Append({&quote, 1});
}

absl::Status AppendScalar(const Value& value, TextBuilder& out) {
  if (value.Is<bool>()) return out.Append(value.As<bool>() ? "True" : "False");
  if (value.Is<int64_t>()) return out.Append(absl::StrCat(value.As<int64_t>()));
  if (value.Is<double>()) return out.Append(FloatText(value.As<double>()));
  if (value.Is<None>()) return out.Append("None");
  if (value.Is<Undefined>()) return absl::OkStatus();
  return out.Append(absl::StrCat("<", value.TypeName(), ">"));
}

}  // namespace

absl::Status Budget::Charge(size_t units) {
  if (units > left_) {
    left_ = 0;
    return absl::InvalidArgumentError("the template does more work than a chat template may");
  }
  left_ -= units;
  return absl::OkStatus();
}

absl::Status TextBuilder::Append(std::string_view text) {
  RETURN_IF_ERROR(budget_.Charge(kStepUnits + text.size()));
  text_.append(text);
  return absl::OkStatus();
}

absl::StatusOr<Value> Value::MakeString(std::string text, Budget& budget) {
  RETURN_IF_ERROR(budget.Charge(kItemUnits + text.size()));
  return Value(std::make_shared<const std::string>(std::move(text)));
}

absl::StatusOr<Value> Value::MakeList(std::vector<Value> items, Budget& budget) {
  RETURN_IF_ERROR(budget.Charge(kItemUnits * (1 + items.size())));
  List list;
  for (const Value& item : items) RETURN_IF_ERROR(Admit(item, list.depth));
  list.items = std::move(items);
  return Value(std::make_shared<const List>(std::move(list)));
}

absl::StatusOr<Value> Value::MakeDict(std::vector<std::pair<std::string, Value>> items, Budget& budget) {
  RETURN_IF_ERROR(budget.Charge(2 * kItemUnits * (1 + items.size())));
  Dict dict;
  for (auto& [key, value] : items) {
    RETURN_IF_ERROR(Admit(value, dict.depth));
    ASSIGN_OR_RETURN(const Value* present, Find(dict.items, key, budget));
    if (present == nullptr) {
      dict.items.emplace_back(std::move(key), std::move(value));
    } else {
      *const_cast<Value*>(present) = std::move(value);
    }
  }
  return Value(std::make_shared<const Dict>(std::move(dict)));
}

bool Value::Truthy() const {
  if (IsNumber()) return Float() != 0;
  if (AsString()) return !AsString()->empty();
  if (AsList()) return !AsList()->items.empty();
  if (AsDict()) return !AsDict()->items.empty();
  return !Is<Undefined>() && !Is<None>();
}

const char* Value::TypeName() const {
  constexpr const char* kNames[] = {"undefined", "none", "bool",      "int",   "float",   "string",
                                    "list",      "dict", "namespace", "macro", "function"};
  static_assert(std::size(kNames) == std::variant_size_v<Data>);
  return kNames[data_.index()];
}

absl::StatusOr<const Value*> Find(const std::vector<std::pair<std::string, Value>>& items, std::string_view key,
                                  Budget& budget) {
  RETURN_IF_ERROR(budget.Charge(items.size()));
  const auto found = std::find_if(items.begin(), items.end(), [&](const auto& item) { return item.first == key; });
  return found == items.end() ? nullptr : &found->second;
}

std::string FloatText(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  char digits[32];
  const auto plain = std::abs(value) < 1e16 && (value == 0 || std::abs(value) >= 1e-4);
  const auto result = std::to_chars(digits, digits + sizeof(digits), value,
                                    plain ? std::chars_format::fixed : std::chars_format::scientific);
  std::string text(digits, result.ptr);
  if (plain && text.find('.') == std::string::npos) text += ".0";
  return text;
}

absl::StatusOr<bool> Equal(const Value& a, const Value& b, Budget& budget) {
  RETURN_IF_ERROR(budget.Charge(kStepUnits));
  if (a.IsIntegral() && b.IsIntegral()) return a.Integer() == b.Integer();
  if (a.IsNumber() && b.IsNumber()) return a.Float() == b.Float();
  if (a.AsString() && b.AsString()) {
    RETURN_IF_ERROR(budget.Charge(a.AsString()->size()));
    return *a.AsString() == *b.AsString();
  }
  if (const List* left = a.AsList(), *right = b.AsList(); left && right) {
    if (left->items.size() != right->items.size()) return false;
    for (size_t i = 0; i < left->items.size(); ++i) {
      ASSIGN_OR_RETURN(const bool same, Equal(left->items[i], right->items[i], budget));
      if (!same) return false;
    }
    return true;
  }
  if (const Dict* left = a.AsDict(), *right = b.AsDict(); left && right) {
    if (left->items.size() != right->items.size()) return false;
    for (const auto& [key, value] : left->items) {
      ASSIGN_OR_RETURN(const Value* other, Find(right->items, key, budget));
      if (other == nullptr) return false;
      ASSIGN_OR_RETURN(const bool same, Equal(value, *other, budget));
      if (!same) return false;
    }
    return true;
  }
  if (a.AsNamespace()) return a.AsNamespace() == b.AsNamespace();
  return (a.Is<None>() && b.Is<None>()) || (a.Is<Undefined>() && b.Is<Undefined>());
}

absl::StatusOr<bool> Less(const Value& a, const Value& b) {
  if (a.IsIntegral() && b.IsIntegral()) return a.Integer() < b.Integer();
  if (a.IsNumber() && b.IsNumber()) return a.Float() < b.Float();
  if (a.AsString() && b.AsString()) return *a.AsString() < *b.AsString();
  return absl::InvalidArgumentError(
      absl::StrCat("values of types ", a.TypeName(), " and ", b.TypeName(), " have no order"));
}

absl::Status AppendText(const Value& value, TextBuilder& out) {
  if (const std::string* text = value.AsString()) return out.Append(*text);
  return AppendRepr(value, out);
}

absl::Status AppendRepr(const Value& value, TextBuilder& out) {
  if (const std::string* text = value.AsString()) {
    const bool double_quotes = text->find('\'') != std::string::npos && text->find('"') == std::string::npos;
    return AppendQuoted(*text, double_quotes ? '"' : '\'', out);
  }
  if (const List* list = value.AsList()) {
    RETURN_IF_ERROR(out.Append("["));
    for (size_t i = 0; i < list->items.size(); ++i) {
      if (i > 0) RETURN_IF_ERROR(out.Append(", "));
      RETURN_IF_ERROR(AppendRepr(list->items[i], out));
    }
    return out.Append("]");
  }
  if (const Dict* dict = value.AsDict()) {
    RETURN_IF_ERROR(out.Append("{"));
    for (size_t i = 0; i < dict->items.size(); ++i) {
      if (i > 0) RETURN_IF_ERROR(out.Append(", "));
      RETURN_IF_ERROR(AppendQuoted(dict->items[i].first, '\'', out));
      RETURN_IF_ERROR(out.Append(": "));
      RETURN_IF_ERROR(AppendRepr(dict->items[i].second, out));
    }
    return out.Append("}");
  }
  return AppendScalar(value, out);
}

}  // namespace quire::jinja
