#include <algorithm>

#include "engine/tokenizer/jinja/builtins.h"
#include "engine/tokenizer/jinja/sequences.h"
#include "engine/tokenizer/jinja/text_functions.h"
#include "engine/types/status_macros.h"
#include "kernels/check.h"

namespace quire::jinja {
namespace {

absl::StatusOr<bool> Divides(const Value& subject, const Value& divisor) {
  if (!subject.IsIntegral() || !divisor.IsIntegral() || divisor.Integer() == 0) {
    return absl::InvalidArgumentError("this test takes integers, and a divisor that is not 0");
  }
  return divisor.Integer() == -1 || subject.Integer() % divisor.Integer() == 0;
}

absl::StatusOr<bool> Not(absl::StatusOr<bool> result) {
  if (!result.ok()) return result;
  return !*result;
}

using TestFunction = absl::StatusOr<bool> (*)(const Value& subject, const Value& argument, Budget& budget);
struct Test {
  std::string_view name;
  TestFunction apply;
};
const Test kTests[] = {
    {"defined", [](auto& a, auto&, auto&) -> absl::StatusOr<bool> { return !a.template Is<Undefined>(); }},
    {"undefined", [](auto& a, auto&, auto&) -> absl::StatusOr<bool> { return a.template Is<Undefined>(); }},
    {"none", [](auto& a, auto&, auto&) -> absl::StatusOr<bool> { return a.template Is<None>(); }},
    {"string", [](auto& a, auto&, auto&) -> absl::StatusOr<bool> { return a.AsString() != nullptr; }},
    {"mapping", [](auto& a, auto&, auto&) -> absl::StatusOr<bool> { return a.AsDict() != nullptr; }},
    {"iterable",
     [](auto& a, auto&, auto&) -> absl::StatusOr<bool> {
       return a.AsString() || a.AsList() || a.AsDict() || a.template Is<Undefined>();
     }},
    {"sequence",
     [](auto& a, auto&, auto&) -> absl::StatusOr<bool> {
       return a.AsString() || a.AsList() || a.AsDict() || a.template Is<Undefined>();
     }},
    {"callable",
     [](auto& a, auto&, auto&) -> absl::StatusOr<bool> {
       return a.template Is<const Macro*>() || a.template Is<Function>();
     }},
    {"number", [](auto& a, auto&, auto&) -> absl::StatusOr<bool> { return a.IsNumber(); }},
    {"integer", [](auto& a, auto&, auto&) -> absl::StatusOr<bool> { return a.template Is<int64_t>(); }},
    {"float", [](auto& a, auto&, auto&) -> absl::StatusOr<bool> { return a.template Is<double>(); }},
    {"boolean", [](auto& a, auto&, auto&) -> absl::StatusOr<bool> { return a.template Is<bool>(); }},
    {"true", [](auto& a, auto&, auto&) -> absl::StatusOr<bool> { return a.template Is<bool>() && a.Truthy(); }},
    {"false", [](auto& a, auto&, auto&) -> absl::StatusOr<bool> { return a.template Is<bool>() && !a.Truthy(); }},
    {"odd", [](auto& a, auto&, auto&) { return Not(Divides(a, int64_t{2})); }},
    {"even", [](auto& a, auto&, auto&) { return Divides(a, int64_t{2}); }},
    {"divisibleby", [](auto& a, auto& b, auto&) { return Divides(a, b); }},
    {"lower",
     [](auto& a, auto&, auto&) -> absl::StatusOr<bool> {
       return a.AsString() && LowerText(*a.AsString()) == *a.AsString();
     }},
    {"upper",
     [](auto& a, auto&, auto&) -> absl::StatusOr<bool> {
       return a.AsString() && UpperText(*a.AsString()) == *a.AsString();
     }},
    {"in", [](auto& a, auto& b, auto& budget) { return Contains(b, a, budget); }},
    {"eq", [](auto& a, auto& b, auto& budget) { return Equal(a, b, budget); }},
    {"==", [](auto& a, auto& b, auto& budget) { return Equal(a, b, budget); }},
    {"equalto", [](auto& a, auto& b, auto& budget) { return Equal(a, b, budget); }},
    {"sameas", [](auto& a, auto& b, auto& budget) { return Equal(a, b, budget); }},
    {"!=", [](auto& a, auto& b, auto& budget) { return Not(Equal(a, b, budget)); }},
    {"ne", [](auto& a, auto& b, auto& budget) { return Not(Equal(a, b, budget)); }},
    {"<", [](auto& a, auto& b, auto&) { return Less(a, b); }},
    {">", [](auto& a, auto& b, auto&) { return Less(b, a); }},
    {"<=", [](auto& a, auto& b, auto&) { return Not(Less(b, a)); }},
    {">=", [](auto& a, auto& b, auto&) { return Not(Less(a, b)); }},
    {"lt", [](auto& a, auto& b, auto&) { return Less(a, b); }},
    {"lessthan", [](auto& a, auto& b, auto&) { return Less(a, b); }},
    {"gt", [](auto& a, auto& b, auto&) { return Less(b, a); }},
    {"greaterthan", [](auto& a, auto& b, auto&) { return Less(b, a); }},
    {"ge", [](auto& a, auto& b, auto&) { return Not(Less(a, b)); }},
    {"le", [](auto& a, auto& b, auto&) { return Not(Less(b, a)); }},
};

const Test* FindTest(std::string_view name) {
  const auto* found =
      std::find_if(std::begin(kTests), std::end(kTests), [&](const Test& test) { return test.name == name; });
  return found == std::end(kTests) ? nullptr : found;
}

}  // namespace

bool IsTest(std::string_view name) { return FindTest(name) != nullptr; }

absl::StatusOr<bool> ApplyTest(std::string_view name, const Value& subject, const Arguments& arguments,
                               Budget& budget) {
  const Test* test = FindTest(name);
  QUIRE_CHECK(test != nullptr);
  RETURN_IF_ERROR(budget.Charge(kStepUnits + (subject.AsString() ? subject.AsString()->size() : 0)));
  return test->apply(subject, arguments.Get(0, ""), budget);
}

}  // namespace quire::jinja
