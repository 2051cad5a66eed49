#include <algorithm>
#include <cmath>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "engine/tokenizer/jinja/builtins.h"
#include "engine/tokenizer/jinja/json_value.h"
#include "engine/tokenizer/jinja/sequences.h"
#include "engine/tokenizer/jinja/text_functions.h"
#include "engine/types/status_macros.h"
#include "engine/types/string_view.h"
#include "kernels/check.h"

namespace quire::jinja {
namespace {

absl::Status Mistake(const std::string& what) { return absl::InvalidArgumentError(what); }

absl::StatusOr<std::string> TextOf(const Value& value, Budget& budget) {
  TextBuilder out(budget);
  RETURN_IF_ERROR(AppendText(value, out));
  return out.Take();
}

// item.a.b for the attribute "a.b", as map, selectattr and sort name it.
absl::StatusOr<Value> Attribute(Value item, const Value& attribute, Budget& budget) {
  if (attribute.AsString() == nullptr) return Subscript(item, attribute, budget);
  std::string_view path = *attribute.AsString();
  for (;;) {
    const size_t dot = path.find('.');
    ASSIGN_OR_RETURN(const Value key, Value::MakeString(std::string(path.substr(0, dot)), budget));
    ASSIGN_OR_RETURN(item, Subscript(item, key, budget));
    if (dot == std::string_view::npos) return item;
    path.remove_prefix(dot + 1);
  }
}

absl::StatusOr<Value> Length(const Value& subject, const Arguments&, Budget& budget) {
  if (const std::string* text = subject.AsString()) {
    RETURN_IF_ERROR(budget.Charge(text->size()));
    return Value(static_cast<int64_t>(
        std::count_if(text->begin(), text->end(), [](char byte) { return (byte & 0xC0) != 0x80; })));
  }
  if (subject.AsList()) return Value(static_cast<int64_t>(subject.AsList()->items.size()));
  if (subject.AsDict()) return Value(static_cast<int64_t>(subject.AsDict()->items.size()));
  if (subject.Is<Undefined>()) return Value(int64_t{0});
  return Mistake(absl::StrCat("a value of type ", subject.TypeName(), " has no length"));
}

absl::StatusOr<Value> Edge(const Value& subject, bool first, Budget& budget) {
  ASSIGN_OR_RETURN(const std::vector<Value> items, Iterate(subject, budget));
  if (items.empty()) return Value();
  return first ? items.front() : items.back();
}
absl::StatusOr<Value> First(const Value& subject, const Arguments&, Budget& budget) {
  return Edge(subject, true, budget);
}
absl::StatusOr<Value> Last(const Value& subject, const Arguments&, Budget& budget) {
  return Edge(subject, false, budget);
}

absl::StatusOr<Value> Join(const Value& subject, const Arguments& arguments, Budget& budget) {
  ASSIGN_OR_RETURN(const std::vector<Value> items, Iterate(subject, budget));
  const Value separator = arguments.Get(0, "d"), attribute = arguments.Get(1, "attribute");
  TextBuilder out(budget);
  for (size_t i = 0; i < items.size(); ++i) {
    if (i > 0) RETURN_IF_ERROR(AppendText(separator, out));
    Value item = items[i];
    if (!attribute.Is<Undefined>()) {
      ASSIGN_OR_RETURN(item, Attribute(item, attribute, budget));
    }
    RETURN_IF_ERROR(AppendText(item, out));
  }
  return Value::MakeString(out.Take(), budget);
}

absl::StatusOr<Value> Default(const Value& subject, const Arguments& arguments, Budget&) {
  const bool use = subject.Is<Undefined>() || (arguments.Get(1, "boolean").Truthy() && !subject.Truthy());
  if (!use) return subject;
  const Value otherwise = arguments.Get(0, "default_value");
  return otherwise.Is<Undefined>() ? Value(std::make_shared<const std::string>()) : otherwise;
}

absl::StatusOr<Value> ToJson(const Value& subject, const Arguments& arguments, Budget& budget) {
  constexpr int64_t kMaxIndent = 16;
  JsonStyle style;
  style.ensure_ascii = arguments.Get(0, "ensure_ascii").Truthy();
  style.sort_keys = arguments.Get(3, "sort_keys").Truthy();
  if (const Value indent = arguments.Get(1, "indent"); indent.IsIntegral()) {
    style.indent = static_cast<int>(std::clamp<int64_t>(indent.Integer(), 0, kMaxIndent));
    style.item_separator = ",";
  }
  const Value separators = arguments.Get(2, "separators");
  if (const List* pair = separators.AsList()) {
    if (pair->items.size() != 2 || !pair->items[0].AsString() || !pair->items[1].AsString())
      return Mistake("the separators of tojson are two strings");
    style.item_separator = *pair->items[0].AsString();
    style.key_separator = *pair->items[1].AsString();
  }
  TextBuilder out(budget);
  RETURN_IF_ERROR(AppendJson(subject, style, out));
  return Value::MakeString(out.Take(), budget);
}

absl::StatusOr<Value> ToText(const Value& subject, const Arguments&, Budget& budget) {
  if (subject.AsString()) return subject;
  ASSIGN_OR_RETURN(std::string text, TextOf(subject, budget));
  return Value::MakeString(std::move(text), budget);
}

absl::StatusOr<Value> ToInt(const Value& subject, const Arguments& arguments, Budget&) {
  const Value otherwise = arguments.Get(0, "default");
  int64_t integer = otherwise.IsIntegral() ? otherwise.Integer() : 0;
  if (subject.IsIntegral()) return Value(subject.Integer());
  constexpr double kBound = 9007199254740992.0;  // 2^53: below it every float converts.
  if (subject.Is<double>())
    return Value(std::abs(subject.Float()) < kBound ? static_cast<int64_t>(subject.Float()) : integer);
  int64_t parsed;
  if (subject.AsString() && absl::SimpleAtoi(*subject.AsString(), &parsed)) integer = parsed;
  return Value(integer);
}

absl::StatusOr<Value> ToFloat(const Value& subject, const Arguments& arguments, Budget&) {
  const Value otherwise = arguments.Get(0, "default");
  if (subject.IsNumber()) return Value(subject.Float());
  double parsed;
  if (subject.AsString() && absl::SimpleAtod(*subject.AsString(), &parsed)) return Value(parsed);
  return Value(otherwise.IsNumber() ? otherwise.Float() : 0.0);
}

absl::StatusOr<Value> Abs(const Value& subject, const Arguments&, Budget&) {
  if (subject.Is<double>()) return Value(std::abs(subject.Float()));
  if (!subject.IsIntegral() || subject.Integer() == INT64_MIN) return Mistake("abs takes a number");
  return Value(std::abs(subject.Integer()));
}

absl::StatusOr<Value> ToList(const Value& subject, const Arguments&, Budget& budget) {
  ASSIGN_OR_RETURN(std::vector<Value> items, Iterate(subject, budget));
  return Value::MakeList(std::move(items), budget);
}

absl::StatusOr<Value> Reverse(const Value& subject, const Arguments&, Budget& budget) {
  return Slice(subject, {}, {}, int64_t{-1}, budget);
}

absl::StatusOr<Value> Items(const Value& subject, const Arguments&, Budget& budget) {
  if (subject.AsDict() == nullptr) return Mistake("items takes a dict");
  std::vector<Value> pairs;
  for (const auto& [key, value] : subject.AsDict()->items) {
    ASSIGN_OR_RETURN(Value name, Value::MakeString(key, budget));
    ASSIGN_OR_RETURN(pairs.emplace_back(), Value::MakeList({std::move(name), value}, budget));
  }
  return Value::MakeList(std::move(pairs), budget);
}

absl::StatusOr<Value> Unique(const Value& subject, const Arguments&, Budget& budget) {
  ASSIGN_OR_RETURN(const std::vector<Value> items, Iterate(subject, budget));
  std::vector<Value> unique;
  for (const Value& item : items) {
    bool seen = false;
    for (size_t i = 0; i < unique.size() && !seen; ++i) {
      ASSIGN_OR_RETURN(seen, Equal(unique[i], item, budget));
    }
    if (!seen) unique.push_back(item);
  }
  return Value::MakeList(std::move(unique), budget);
}

// Merge sort, so that a comparison that fails can stop it.
absl::Status SortByKey(std::vector<std::pair<Value, Value>>& items, bool descending, Budget& budget) {
  if (items.size() < 2) return absl::OkStatus();
  const auto middle = items.begin() + items.size() / 2;
  std::vector<std::pair<Value, Value>> left(items.begin(), middle), right(middle, items.end());
  RETURN_IF_ERROR(SortByKey(left, descending, budget));
  RETURN_IF_ERROR(SortByKey(right, descending, budget));
  size_t from_left = 0, from_right = 0;
  for (auto& item : items) {
    bool take_right = from_left == left.size();
    if (!take_right && from_right < right.size()) {
      const Value &a = left[from_left].first, &b = right[from_right].first;
      RETURN_IF_ERROR(budget.Charge(kStepUnits + (a.AsString() ? a.AsString()->size() : 0)));
      ASSIGN_OR_RETURN(take_right, descending ? Less(a, b) : Less(b, a));
    }
    item = take_right ? right[from_right++] : left[from_left++];
  }
  return absl::OkStatus();
}

absl::StatusOr<Value> DictSort(const Value& subject, const Arguments&, Budget& budget) {
  ASSIGN_OR_RETURN(const Value pairs, Items(subject, {}, budget));
  std::vector<std::pair<Value, Value>> keyed;
  for (const Value& pair : pairs.AsList()->items) keyed.emplace_back(pair.AsList()->items[0], pair);
  RETURN_IF_ERROR(SortByKey(keyed, /*descending=*/false, budget));
  std::vector<Value> sorted;
  for (auto& [key, pair] : keyed) sorted.push_back(std::move(pair));
  return Value::MakeList(std::move(sorted), budget);
}

absl::StatusOr<Value> Sort(const Value& subject, const Arguments& arguments, Budget& budget) {
  ASSIGN_OR_RETURN(const std::vector<Value> items, Iterate(subject, budget));
  const Value attribute = arguments.Get(2, "attribute");
  const bool by_case = arguments.Get(1, "case_sensitive").Truthy();
  std::vector<std::pair<Value, Value>> keyed;
  for (const Value& item : items) {
    Value key = item;
    if (!attribute.Is<Undefined>()) {
      ASSIGN_OR_RETURN(key, Attribute(item, attribute, budget));
    }
    if (!by_case && key.AsString()) {
      ASSIGN_OR_RETURN(key, Value::MakeString(LowerText(*key.AsString()), budget));
    }
    keyed.emplace_back(std::move(key), item);
  }
  RETURN_IF_ERROR(SortByKey(keyed, arguments.Get(0, "reverse").Truthy(), budget));
  std::vector<Value> sorted;
  for (auto& [key, item] : keyed) sorted.push_back(std::move(item));
  return Value::MakeList(std::move(sorted), budget);
}

absl::StatusOr<Value> Map(const Value& subject, const Arguments& arguments, Budget& budget) {
  ASSIGN_OR_RETURN(std::vector<Value> items, Iterate(subject, budget));
  const Value attribute = arguments.Get(SIZE_MAX, "attribute"), otherwise = arguments.Get(SIZE_MAX, "default");
  const Value filter = arguments.Get(0, "");
  if (attribute.Is<Undefined>() && (filter.AsString() == nullptr || !IsFilter(*filter.AsString()))) {
    return Mistake("map takes attribute=... or the name of a filter");
  }
  Arguments rest;
  if (arguments.positional.size() > 1)
    rest.positional.assign(arguments.positional.begin() + 1, arguments.positional.end());
  for (Value& item : items) {
    if (attribute.Is<Undefined>()) {
      ASSIGN_OR_RETURN(item, ApplyFilter(*filter.AsString(), item, rest, budget));
    } else {
      ASSIGN_OR_RETURN(item, Attribute(item, attribute, budget));
      if (item.Is<Undefined>()) item = otherwise;
    }
  }
  return Value::MakeList(std::move(items), budget);
}

// select, reject and, on an attribute, selectattr and rejectattr: by a test and its argument, or by truth.
absl::StatusOr<Value> Choose(const Value& subject, const Arguments& arguments, bool by_attribute, bool keep,
                             Budget& budget) {
  ASSIGN_OR_RETURN(const std::vector<Value> items, Iterate(subject, budget));
  const Value test = arguments.Get(by_attribute, "");
  if (!test.Is<Undefined>() && (test.AsString() == nullptr || !IsTest(*test.AsString()))) {
    return Mistake("select and reject take the name of a test");
  }
  Arguments rest;
  const size_t num_taken = by_attribute + size_t{1};
  if (arguments.positional.size() > num_taken) {
    rest.positional.assign(arguments.positional.begin() + num_taken, arguments.positional.end());
  }
  std::vector<Value> chosen;
  for (const Value& item : items) {
    Value tested = item;
    if (by_attribute) {
      ASSIGN_OR_RETURN(tested, Attribute(item, arguments.Get(0, "attribute"), budget));
    }
    bool holds = tested.Truthy();
    if (test.AsString()) {
      ASSIGN_OR_RETURN(holds, ApplyTest(*test.AsString(), tested, rest, budget));
    }
    if (holds == keep) chosen.push_back(item);
  }
  return Value::MakeList(std::move(chosen), budget);
}
template <bool kByAttribute, bool kKeep>
absl::StatusOr<Value> Choose(const Value& subject, const Arguments& arguments, Budget& budget) {
  return Choose(subject, arguments, kByAttribute, kKeep, budget);
}

template <std::string (*kChange)(std::string_view)>
absl::StatusOr<Value> ChangeText(const Value& subject, const Arguments&, Budget& budget) {
  ASSIGN_OR_RETURN(const std::string text, TextOf(subject, budget));
  return Value::MakeString(kChange(text), budget);
}

absl::StatusOr<Value> Trim(const Value& subject, const Arguments& arguments, Budget& budget) {
  ASSIGN_OR_RETURN(const std::string text, TextOf(subject, budget));
  return CallTextMethod("strip", text, arguments, budget);
}

absl::StatusOr<Value> Replace(const Value& subject, const Arguments& arguments, Budget& budget) {
  ASSIGN_OR_RETURN(const std::string text, TextOf(subject, budget));
  return ReplaceText(text, arguments, budget);
}

absl::StatusOr<Value> Format(const Value& subject, const Arguments& arguments, Budget& budget) {
  ASSIGN_OR_RETURN(const std::string text, TextOf(subject, budget));
  return FormatText(text, arguments, budget);
}

absl::StatusOr<Value> Indent(const Value& subject, const Arguments& arguments, Budget& budget) {
  ASSIGN_OR_RETURN(const std::string text, TextOf(subject, budget));
  const Value width = arguments.Get(0, "width");
  constexpr int64_t kMaxWidth = 256;
  const std::string space =
      width.AsString() ? *width.AsString()
                       : std::string(width.IsIntegral() ? std::clamp<int64_t>(width.Integer(), 0, kMaxWidth) : 4, ' ');
  const bool first = arguments.Get(1, "first").Truthy(), blank = arguments.Get(2, "blank").Truthy();
  TextBuilder out(budget);
  std::string_view rest = text;
  for (bool is_first = true;; is_first = false) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    const std::string_view line = rest.substr(0, end);
    if (is_first ? first : (blank || !line.empty())) RETURN_IF_ERROR(out.Append(space));
    RETURN_IF_ERROR(out.Append(line));
    if (end == rest.size()) return Value::MakeString(out.Take(), budget);
    RETURN_IF_ERROR(out.Append("\n"));
    rest.remove_prefix(end + 1);
  }
}

absl::StatusOr<Value> Escape(const Value& subject, const Arguments&, Budget& budget) {
  ASSIGN_OR_RETURN(const std::string text, TextOf(subject, budget));
  TextBuilder out(budget);
  for (const char byte : text) {
    const char* entity = byte == '&'    ? "&amp;"
                         : byte == '<'  ? "&lt;"
                         : byte == '>'  ? "&gt;"
                         : byte == '"'  ? "&#34;"
                         : byte == '\'' ? "&#39;"
                                        : nullptr;
    RETURN_IF_ERROR(out.Append(entity ? std::string_view(entity) : std::string_view(&byte, 1)));
  }
  return Value::MakeString(out.Take(), budget);
}

struct Filter {
  std::string_view name;
  absl::StatusOr<Value> (*apply)(const Value&, const Arguments&, Budget&);
};
constexpr Filter kFilters[] = {
    {"abs", Abs},
    {"capitalize", ChangeText<CapitalizeText>},
    {"count", Length},
    {"d", Default},
    {"default", Default},
    {"dictsort", DictSort},
    {"e", Escape},
    {"escape", Escape},
    {"first", First},
    {"float", ToFloat},
    {"format", Format},
    {"indent", Indent},
    {"int", ToInt},
    {"items", Items},
    {"join", Join},
    {"last", Last},
    {"length", Length},
    {"list", ToList},
    {"lower", ChangeText<LowerText>},
    {"map", Map},
    {"reject", Choose<false, false>},
    {"rejectattr", Choose<true, false>},
    {"replace", Replace},
    {"reverse", Reverse},
    {"safe", ToText},
    {"select", Choose<false, true>},
    {"selectattr", Choose<true, true>},
    {"sort", Sort},
    {"string", ToText},
    {"title", ChangeText<TitleText>},
    {"tojson", ToJson},
    {"trim", Trim},
    {"unique", Unique},
    {"upper", ChangeText<UpperText>},
};

const Filter* FindFilter(std::string_view name) {
  const auto* found =
      std::find_if(std::begin(kFilters), std::end(kFilters), [&](const Filter& filter) { return filter.name == name; });
  return found == std::end(kFilters) ? nullptr : found;
}

}  // namespace

Value Arguments::Get(size_t index, std::string_view name) const {
  if (index < positional.size()) return positional[index];
  const auto found = std::find_if(named.begin(), named.end(), [&](const auto& one) { return one.first == name; });
  return found == named.end() ? Value() : found->second;
}

bool IsFilter(std::string_view name) { return FindFilter(name) != nullptr; }

absl::StatusOr<Value> ApplyFilter(std::string_view name, const Value& subject, const Arguments& arguments,
                                  Budget& budget) {
  const Filter* filter = FindFilter(name);
  QUIRE_CHECK(filter != nullptr);
  return filter->apply(subject, arguments, budget);
}

absl::StatusOr<Value> CallMethod(std::string_view name, const Value& subject, const Arguments& arguments,
                                 Budget& budget) {
  if (const std::string* text = subject.AsString()) {
    return CallTextMethod(name, *text, arguments, budget);
  }
  if (const Dict* dict = subject.AsDict()) {
    if (name == "items") return Items(subject, arguments, budget);
    if (name == "keys") return ToList(subject, arguments, budget);
    if (name == "values") {
      std::vector<Value> values;
      for (const auto& [key, value] : dict->items) values.push_back(value);
      return Value::MakeList(std::move(values), budget);
    }
    if (name == "get") {
      ASSIGN_OR_RETURN(Value found, Subscript(subject, arguments.Get(0, "key"), budget));
      if (!found.Is<Undefined>()) return found;
      const Value otherwise = arguments.Get(1, "default");
      return otherwise.Is<Undefined>() ? Value(None()) : otherwise;
    }
  }
  return Mistake(absl::StrCat("a value of type ", subject.TypeName(), " has no method \"", AbslView(name), "\""));
}

}  // namespace quire::jinja
