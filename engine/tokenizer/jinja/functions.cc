#include <algorithm>
#include <ctime>
#include <string>

#include "absl/strings/str_cat.h"
#include "engine/tokenizer/jinja/builtins.h"
#include "engine/types/status_macros.h"
#include "kernels/check.h"

namespace quire::jinja {
namespace {

absl::Status Mistake(const std::string& what) { return absl::InvalidArgumentError(what); }

absl::StatusOr<Value> Range(const Arguments& arguments, Budget& budget) {
  const size_t count = arguments.positional.size();
  if (count < 1 || count > 3) return Mistake("range takes one to three integers");
  for (const Value& part : arguments.positional) {
    if (!part.IsIntegral()) return Mistake("range takes integers");
  }
  const int64_t start = count > 1 ? arguments.positional[0].Integer() : 0;
  const int64_t stop = arguments.positional[count > 1].Integer();
  const int64_t step = count > 2 ? arguments.positional[2].Integer() : 1;
  if (step == 0) return Mistake("the step of range is not 0");
  std::vector<Value> items;
  for (int64_t i = start; step > 0 ? i < stop : i > stop;) {
    RETURN_IF_ERROR(budget.Charge(sizeof(Value)));
    items.push_back(i);
    if (__builtin_add_overflow(i, step, &i)) break;
  }
  return Value::MakeList(std::move(items), budget);
}

absl::StatusOr<Value> Dictionary(const Arguments& arguments, Budget& budget) {
  std::vector<std::pair<std::string, Value>> items;
  const Value base = arguments.Get(0, "");
  if (base.AsDict()) {
    RETURN_IF_ERROR(budget.Charge(base.AsDict()->items.size() * sizeof(items[0])));
    items = base.AsDict()->items;
  }
  items.insert(items.end(), arguments.named.begin(), arguments.named.end());
  return Value::MakeDict(std::move(items), budget);
}

absl::StatusOr<Value> MakeNamespace(const Arguments& arguments, Budget& budget) {
  ASSIGN_OR_RETURN(const Value dict, Dictionary(arguments, budget));
  auto space = std::make_shared<Namespace>();
  space->items = dict.AsDict()->items;
  return Value(std::move(space));
}

absl::StatusOr<Value> RaiseException(const Arguments& arguments, Budget& budget) {
  TextBuilder words(budget);
  RETURN_IF_ERROR(AppendText(arguments.Get(0, "message"), words));
  return Mistake(absl::StrCat("the chat template refuses these messages: ", words.Take()));
}

absl::StatusOr<Value> StrftimeNow(const Arguments& arguments, Budget& budget) {
  const Value format = arguments.Get(0, "format");
  if (format.AsString() == nullptr) return Mistake("strftime_now takes a format");
  const std::time_t now = std::time(nullptr);
  std::tm local;
  localtime_r(&now, &local);
  char text[256];
  return Value::MakeString(std::string(text, std::strftime(text, sizeof(text), format.AsString()->c_str(), &local)),
                           budget);
}

struct NamedFunction {
  std::string_view name;
  absl::StatusOr<Value> (*call)(const Arguments&, Budget&);
};
constexpr NamedFunction kFunctions[] = {
    {"dict", Dictionary}, {"namespace", MakeNamespace},  {kRaiseException, RaiseException},
    {"range", Range},     {"strftime_now", StrftimeNow},
};

const NamedFunction* Find(std::string_view name) {
  const auto* found = std::find_if(std::begin(kFunctions), std::end(kFunctions),
                                   [&](const NamedFunction& function) { return function.name == name; });
  return found == std::end(kFunctions) ? nullptr : found;
}

}  // namespace

Value FindFunction(std::string_view name) {
  const NamedFunction* function = Find(name);
  return function == nullptr ? Value() : Value(Function{function->name});
}

absl::StatusOr<Value> CallFunction(std::string_view name, const Arguments& arguments, Budget& budget) {
  const NamedFunction* function = Find(name);
  QUIRE_CHECK(function != nullptr);
  return function->call(arguments, budget);
}

}  // namespace quire::jinja
