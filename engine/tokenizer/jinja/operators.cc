#include "engine/tokenizer/jinja/operators.h"

#include <cmath>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/tokenizer/jinja/sequences.h"
#include "engine/types/status_macros.h"
#include "engine/types/string_view.h"

namespace quire::jinja {
namespace {

absl::Status Mistake(const std::string& what) { return absl::InvalidArgumentError(what); }

absl::StatusOr<Value> Arithmetic(std::string_view op, const Value& left, const Value& right);

// Rounds down, as Python does.
absl::StatusOr<Value> IntegerDivision(std::string_view op, int64_t left, int64_t right) {
  if (right == 0) return Mistake("division by zero");
  if (right == -1) return Arithmetic(op == "//" ? "*" : "-", left, op == "//" ? right : left);
  int64_t quotient = left / right, remainder = left % right;
  if (remainder != 0 && (remainder < 0) != (right < 0)) {
    quotient -= 1;
    remainder += right;
  }
  return Value(op == "//" ? quotient : remainder);
}

absl::StatusOr<Value> Arithmetic(std::string_view op, const Value& left, const Value& right) {
  if (!left.IsNumber() || !right.IsNumber()) {
    return Mistake(absl::StrCat("'", AbslView(op), "' does not go with values of types ", left.TypeName(), " and ",
                                right.TypeName()));
  }
  if (left.IsIntegral() && right.IsIntegral() && op != "/" && op != "**") {
    const int64_t a = left.Integer(), b = right.Integer();
    if (op == "//" || op == "%") return IntegerDivision(op, a, b);
    int64_t result;
    const bool overflow = op == "+"   ? __builtin_add_overflow(a, b, &result)
                          : op == "-" ? __builtin_sub_overflow(a, b, &result)
                                      : __builtin_mul_overflow(a, b, &result);
    if (overflow) return Mistake("a number is too large");
    return Value(result);
  }
  const double a = left.Float(), b = right.Float();
  if (b == 0 && (op == "/" || op == "//" || op == "%")) return Mistake("division by zero");
  if (op == "+") return Value(a + b);
  if (op == "-") return Value(a - b);
  if (op == "*") return Value(a * b);
  if (op == "/") return Value(a / b);
  if (op == "//") return Value(std::floor(a / b));
  if (op == "%") return Value(a - std::floor(a / b) * b);
  const double power = std::pow(a, b);
  constexpr double kExact = 9007199254740992.0;  // 2^53
  if (left.IsIntegral() && right.IsIntegral() && b >= 0) {
    if (!(std::abs(power) <= kExact)) return Mistake("a number is too large");
    return Value(static_cast<int64_t>(power));
  }
  return Value(power);
}

absl::StatusOr<Value> Repeat(const Value& value, int64_t count, Budget& budget) {
  if (const std::string* text = value.AsString()) {
    TextBuilder out(budget);
    for (int64_t i = 0; i < count && !text->empty(); ++i) RETURN_IF_ERROR(out.Append(*text));
    return Value::MakeString(out.Take(), budget);
  }
  const std::vector<Value>& list = value.AsList()->items;
  std::vector<Value> items;
  for (int64_t i = 0; i < count && !list.empty(); ++i) {
    RETURN_IF_ERROR(budget.Charge(list.size() * sizeof(Value)));
    items.insert(items.end(), list.begin(), list.end());
  }
  return Value::MakeList(std::move(items), budget);
}

}  // namespace

absl::StatusOr<Value> ApplyOperator(std::string_view op, const Value& left, const Value& right, Budget& budget) {
  if (op == "~" || (op == "+" && left.AsString() && right.AsString())) {
    TextBuilder text(budget);
    RETURN_IF_ERROR(AppendText(left, text));
    RETURN_IF_ERROR(AppendText(right, text));
    return Value::MakeString(text.Take(), budget);
  }
  if (op == "+" && left.AsList() && right.AsList()) {
    RETURN_IF_ERROR(budget.Charge((left.AsList()->items.size() + right.AsList()->items.size()) * sizeof(Value)));
    std::vector<Value> items = left.AsList()->items;
    items.insert(items.end(), right.AsList()->items.begin(), right.AsList()->items.end());
    return Value::MakeList(std::move(items), budget);
  }
  if (op == "*" && right.IsIntegral() && (left.AsString() || left.AsList()))
    return Repeat(left, right.Integer(), budget);
  if (op == "*" && left.IsIntegral() && (right.AsString() || right.AsList()))
    return Repeat(right, left.Integer(), budget);
  return Arithmetic(op, left, right);
}

absl::StatusOr<bool> ApplyComparison(std::string_view op, const Value& left, const Value& right, Budget& budget) {
  const bool negated = op == "!=" || op == "not in";
  if (op == "==" || op == "!=") {
    ASSIGN_OR_RETURN(const bool equal, Equal(left, right, budget));
    return equal != negated;
  }
  if (op == "in" || op == "not in") {
    ASSIGN_OR_RETURN(const bool contains, Contains(right, left, budget));
    return contains != negated;
  }
  if (left.AsString()) RETURN_IF_ERROR(budget.Charge(left.AsString()->size()));
  const bool swapped = op == ">" || op == "<=";
  ASSIGN_OR_RETURN(const bool less, swapped ? Less(right, left) : Less(left, right));
  return less == (op == "<" || op == ">");
}

}  // namespace quire::jinja
