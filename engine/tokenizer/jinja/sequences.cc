#include "engine/tokenizer/jinja/sequences.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "engine/tokenizer/jinja/text_functions.h"
#include "engine/types/status_macros.h"

namespace quire::jinja {
namespace {

absl::Status Mistake(const std::string& what) { return absl::InvalidArgumentError(what); }

}  // namespace

absl::StatusOr<std::vector<Value>> Iterate(const Value& value, Budget& budget) {
  std::vector<Value> items;
  if (const List* list = value.AsList()) {
    RETURN_IF_ERROR(budget.Charge(list->items.size() * sizeof(Value)));
    items = list->items;
  } else if (const Dict* dict = value.AsDict()) {
    for (const auto& [key, item] : dict->items) {
      ASSIGN_OR_RETURN(items.emplace_back(), Value::MakeString(key, budget));
    }
  } else if (const std::string* text = value.AsString()) {
    ASSIGN_OR_RETURN(const std::vector<size_t> bounds, CharacterBounds(*text, budget));
    for (size_t i = 0; i + 1 < bounds.size(); ++i) {
      ASSIGN_OR_RETURN(items.emplace_back(),
                       Value::MakeString(text->substr(bounds[i], bounds[i + 1] - bounds[i]), budget));
    }
  } else if (!value.Is<Undefined>()) {
    return Mistake(absl::StrCat("a value of type ", value.TypeName(), " cannot be gone through"));
  }
  return items;
}

absl::StatusOr<Value> Subscript(const Value& value, const Value& key, Budget& budget) {
  if (value.Is<Undefined>()) return Mistake("what is undefined has no items or attributes");
  const Namespace* space = value.AsNamespace();
  const Dict* dict = value.AsDict();
  if (key.AsString() && (dict || space)) {
    ASSIGN_OR_RETURN(const Value* found, Find(dict ? dict->items : space->items, *key.AsString(), budget));
    return found ? *found : Value();
  }
  if (!key.IsIntegral()) return Value();
  const auto at = [&](size_t size) {
    return key.Integer() < 0 ? key.Integer() + static_cast<int64_t>(size) : key.Integer();
  };
  if (const List* list = value.AsList()) {
    const int64_t index = at(list->items.size());
    return index < 0 || index >= static_cast<int64_t>(list->items.size()) ? Value() : list->items[index];
  }
  if (const std::string* text = value.AsString()) {
    ASSIGN_OR_RETURN(const std::vector<size_t> bounds, CharacterBounds(*text, budget));
    const int64_t index = at(bounds.size() - 1);
    if (index < 0 || index + 1 >= static_cast<int64_t>(bounds.size())) return Value();
    return Value::MakeString(text->substr(bounds[index], bounds[index + 1] - bounds[index]), budget);
  }
  return Value();
}

absl::StatusOr<Value> Slice(const Value& value, const Value& start, const Value& stop, const Value& step_value,
                            Budget& budget) {
  const bool is_text = value.AsString() != nullptr;
  if (!is_text && value.AsList() == nullptr)
    return Mistake(absl::StrCat("a value of type ", value.TypeName(), " cannot be sliced"));
  for (const Value* part : {&start, &stop, &step_value}) {
    if (!part->Is<Undefined>() && !part->Is<None>() && !part->IsIntegral())
      return Mistake("the parts of a slice are integers");
  }
  ASSIGN_OR_RETURN(const std::vector<Value> items, Iterate(value, budget));
  const int64_t size = static_cast<int64_t>(items.size());
  // A step longer than the list takes one item, as any such does; so it cannot overflow.
  const int64_t step = step_value.IsIntegral() ? std::clamp<int64_t>(step_value.Integer(), -size - 1, size + 1) : 1;
  if (step == 0) return Mistake("the step of a slice is not 0");
  const int64_t low = step > 0 ? 0 : -1, high = step > 0 ? size : size - 1;
  const auto bound = [&](const Value& part, int64_t otherwise) {
    if (!part.IsIntegral()) return otherwise;
    return std::clamp(part.Integer() < 0 ? part.Integer() + size : part.Integer(), low, high);
  };
  const int64_t end = bound(stop, step > 0 ? high : low);
  std::vector<Value> taken;
  for (int64_t i = bound(start, step > 0 ? low : high); step > 0 ? i < end : i > end; i += step)
    taken.push_back(items[i]);
  if (!is_text) return Value::MakeList(std::move(taken), budget);
  TextBuilder text(budget);
  for (const Value& character : taken) RETURN_IF_ERROR(AppendText(character, text));
  return Value::MakeString(text.Take(), budget);
}

absl::StatusOr<bool> Contains(const Value& container, const Value& item, Budget& budget) {
  if (const std::string* text = container.AsString()) {
    if (item.AsString() == nullptr) return Mistake("only a string can be in a string");
    RETURN_IF_ERROR(budget.Charge(text->size() + item.AsString()->size()));
    return text->find(*item.AsString()) != std::string::npos;
  }
  if (const List* list = container.AsList()) {
    for (const Value& other : list->items) {
      ASSIGN_OR_RETURN(const bool same, Equal(other, item, budget));
      if (same) return true;
    }
    return false;
  }
  if (const Dict* dict = container.AsDict()) {
    if (item.AsString() == nullptr) return false;
    ASSIGN_OR_RETURN(const Value* found, Find(dict->items, *item.AsString(), budget));
    return found != nullptr;
  }
  if (container.Is<Undefined>()) return false;
  return Mistake(absl::StrCat("nothing can be in a value of type ", container.TypeName()));
}

}  // namespace quire::jinja
