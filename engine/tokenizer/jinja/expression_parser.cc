#include "engine/tokenizer/jinja/expression_parser.h"

#include "absl/strings/numbers.h"
#include "engine/tokenizer/jinja/builtins.h"
#include "engine/types/status_macros.h"

namespace quire::jinja {

ParsedExpression ExpressionParser::Make(Expression expression) const {
  expression.line = Here().line;
  for (const ExpressionPtr& operand : expression.operands) {
    if (operand) expression.depth = std::max(expression.depth, operand->depth + 1);
  }
  for (const auto& [name, operand] : expression.named) {
    expression.depth = std::max(expression.depth, operand->depth + 1);
  }
  RETURN_IF_ERROR(CheckNesting(expression.depth));
  return std::make_unique<const Expression>(std::move(expression));
}
// One expression, or several with commas between, which are a list. Without `conditional`, an "if" is left for the
// loop.
ParsedExpression ExpressionParser::ParseTuple(bool conditional) {
  ASSIGN_OR_RETURN(ExpressionPtr first, conditional ? ParseExpression() : ParseOr());
  if (!IsOperator(",")) return first;
  Expression list{.kind = Expression::kList};
  list.operands.push_back(std::move(first));
  while (TakeOperator(",")) {
    ASSIGN_OR_RETURN(list.operands.emplace_back(), conditional ? ParseExpression() : ParseOr());
  }
  return Make(std::move(list));
}

ParsedExpression ExpressionParser::ParseExpression() {
  const Nesting nesting(depth_);
  RETURN_IF_ERROR(CheckNesting(depth_));
  ASSIGN_OR_RETURN(ExpressionPtr value, ParseOr());
  if (!TakeName("if")) return value;
  ASSIGN_OR_RETURN(ExpressionPtr condition, ParseOr());
  ExpressionPtr otherwise;
  if (TakeName("else")) {
    ASSIGN_OR_RETURN(otherwise, ParseExpression());
  }
  return Make(Expression::kConditional, "", std::move(value), std::move(condition), std::move(otherwise));
}

ParsedExpression ExpressionParser::ParseOr() {
  ASSIGN_OR_RETURN(ExpressionPtr left, ParseAnd());
  while (TakeName("or")) {
    ASSIGN_OR_RETURN(ExpressionPtr right, ParseAnd());
    ASSIGN_OR_RETURN(left, Make(Expression::kOr, "", std::move(left), std::move(right)));
  }
  return left;
}

ParsedExpression ExpressionParser::ParseAnd() {
  ASSIGN_OR_RETURN(ExpressionPtr left, ParseNot());
  while (TakeName("and")) {
    ASSIGN_OR_RETURN(ExpressionPtr right, ParseNot());
    ASSIGN_OR_RETURN(left, Make(Expression::kAnd, "", std::move(left), std::move(right)));
  }
  return left;
}

ParsedExpression ExpressionParser::ParseNot() {
  if (!TakeName("not")) return ParseCompare();
  const Nesting nesting(depth_);
  RETURN_IF_ERROR(CheckNesting(depth_));
  ASSIGN_OR_RETURN(ExpressionPtr operand, ParseNot());
  return Make(Expression::kNot, "", std::move(operand));
}

ParsedExpression ExpressionParser::ParseCompare() {
  Expression compare{.kind = Expression::kCompare};
  ASSIGN_OR_RETURN(compare.operands.emplace_back(), ParseSum());
  for (;;) {
    if (IsOneOf(Token::kOperator, {"==", "!=", "<", "<=", ">", ">="}) || IsName("in")) {
      compare.operators.push_back(Take());
    } else if (IsName("not") && Next().kind == Token::kName && Next().text == "in") {
      Skip(2);
      compare.operators.push_back("not in");
    } else {
      break;
    }
    ASSIGN_OR_RETURN(compare.operands.emplace_back(), ParseSum());
  }
  if (compare.operators.empty()) return std::move(compare.operands[0]);
  return Make(std::move(compare));
}

ParsedExpression ExpressionParser::ParseLeftAssociative(Expression::Kind kind,
                                                        std::initializer_list<std::string_view> operators,
                                                        ParsedExpression (ExpressionParser::*operand)()) {
  ASSIGN_OR_RETURN(ExpressionPtr left, (this->*operand)());
  while (IsOneOf(Token::kOperator, operators)) {
    std::string op = Take();
    ASSIGN_OR_RETURN(ExpressionPtr right, (this->*operand)());
    ASSIGN_OR_RETURN(left, Make(kind, std::move(op), std::move(left), std::move(right)));
  }
  return left;
}

ParsedExpression ExpressionParser::ParseSum() {
  return ParseLeftAssociative(Expression::kBinary, {"+", "-"}, &ExpressionParser::ParseConcat);
}
ParsedExpression ExpressionParser::ParseConcat() {
  return ParseLeftAssociative(Expression::kBinary, {"~"}, &ExpressionParser::ParseProduct);
}
ParsedExpression ExpressionParser::ParseProduct() {
  return ParseLeftAssociative(Expression::kBinary, {"*", "/", "//", "%"}, &ExpressionParser::ParsePower);
}
ParsedExpression ExpressionParser::ParsePower() {
  ASSIGN_OR_RETURN(ExpressionPtr left, ParseUnary(/*with_filters=*/true));
  while (TakeOperator("**")) {
    ASSIGN_OR_RETURN(ExpressionPtr right, ParseUnary(/*with_filters=*/true));
    ASSIGN_OR_RETURN(left, Make(Expression::kBinary, "**", std::move(left), std::move(right)));
  }
  return left;
}

// A sign binds tighter than a filter: -1|abs is (-1)|abs.
ParsedExpression ExpressionParser::ParseUnary(bool with_filters) {
  const Nesting nesting(depth_);
  RETURN_IF_ERROR(CheckNesting(depth_));
  ExpressionPtr operand;
  if (TakeOperator("-")) {
    ASSIGN_OR_RETURN(operand, ParseUnary(/*with_filters=*/false));
    ASSIGN_OR_RETURN(operand, Make(Expression::kNegate, "", std::move(operand)));
  } else if (TakeOperator("+")) {
    ASSIGN_OR_RETURN(operand, ParseUnary(/*with_filters=*/false));
  } else {
    ASSIGN_OR_RETURN(operand, ParsePrimary());
    ASSIGN_OR_RETURN(operand, ParsePostfix(std::move(operand)));
  }
  return with_filters ? ParseFilters(std::move(operand)) : std::move(operand);
}

ParsedExpression ExpressionParser::ParsePrimary() {
  if (IsAt(Token::kName)) {
    const std::string name = Take();
    Expression literal{.kind = Expression::kLiteral};
    if (name == "true" || name == "True")
      literal.literal = true;
    else if (name == "false" || name == "False")
      literal.literal = false;
    else if (name == "none" || name == "None")
      literal.literal = None();
    else
      return Make(Expression::kName, name);
    return Make(std::move(literal));
  }
  if (TakeOperator("(")) {
    if (TakeOperator(")")) return Make(Expression{.kind = Expression::kList});
    Expression list{.kind = Expression::kList};
    ASSIGN_OR_RETURN(list.operands.emplace_back(), ParseExpression());
    if (TakeOperator(")")) return std::move(list.operands[0]);
    RETURN_IF_ERROR(ExpectOperator(","));
    RETURN_IF_ERROR(ParseItems(")", /*pairs=*/false, list.operands));
    return Make(std::move(list));
  }
  const bool list = TakeOperator("[");
  if (list || TakeOperator("{")) {
    Expression container{.kind = list ? Expression::kList : Expression::kDict};
    RETURN_IF_ERROR(ParseItems(list ? "]" : "}", /*pairs=*/!list, container.operands));
    return Make(std::move(container));
  }
  return ParseLiteral();
}

ParsedExpression ExpressionParser::ParseLiteral() {
  Expression literal{.kind = Expression::kLiteral};
  if (IsAt(Token::kString)) {
    std::string text = Take();
    while (IsAt(Token::kString)) text += Take();
    literal.literal = std::make_shared<const std::string>(std::move(text));
  } else if (IsAt(Token::kInteger)) {
    int64_t integer = 0;
    if (!absl::SimpleAtoi(Take(), &integer)) return Error("the number is too large");
    literal.literal = integer;
  } else if (IsAt(Token::kFloat)) {
    double real = 0;
    if (!absl::SimpleAtod(Take(), &real)) return Error("the number is too large");
    literal.literal = real;
  } else {
    return Error("expected an expression");
  }
  return Make(std::move(literal));
}

// Items with commas between, one perhaps at the end, up to and with `close`; `pairs` are key: value.
absl::Status ExpressionParser::ParseItems(const char* close, bool pairs, std::vector<ExpressionPtr>& items) {
  while (!TakeOperator(close)) {
    ASSIGN_OR_RETURN(items.emplace_back(), ParseExpression());
    if (pairs) {
      RETURN_IF_ERROR(ExpectOperator(":"));
      ASSIGN_OR_RETURN(items.emplace_back(), ParseExpression());
    }
    if (!IsOperator(close)) RETURN_IF_ERROR(ExpectOperator(","));
  }
  return absl::OkStatus();
}

ParsedExpression ExpressionParser::ParsePostfix(ExpressionPtr operand) {
  for (;;) {
    if (TakeOperator(".")) {
      if (IsAt(Token::kInteger)) {
        ASSIGN_OR_RETURN(ExpressionPtr index, ParseLiteral());
        ASSIGN_OR_RETURN(operand, Make(Expression::kSubscript, "", std::move(operand), std::move(index)));
        continue;
      }
      ASSIGN_OR_RETURN(std::string name, Identifier());
      ASSIGN_OR_RETURN(operand, Make(Expression::kAttribute, std::move(name), std::move(operand)));
    } else if (TakeOperator("[")) {
      ASSIGN_OR_RETURN(operand, ParseSubscript(std::move(operand)));
    } else if (IsOperator("(")) {
      Expression call{.kind = Expression::kCall};
      call.operands.push_back(std::move(operand));
      RETURN_IF_ERROR(ParseArguments(call));
      ASSIGN_OR_RETURN(operand, Make(std::move(call)));
    } else {
      return operand;
    }
  }
}

ParsedExpression ExpressionParser::ParseSubscript(ExpressionPtr operand) {
  ExpressionPtr parts[3];
  int num_colons = 0;
  while (!TakeOperator("]")) {
    if (TakeOperator(":")) {
      if (++num_colons > 2) return Error("a slice has at most three parts");
    } else if (parts[num_colons] == nullptr) {
      ASSIGN_OR_RETURN(parts[num_colons], ParseExpression());
    } else {
      return Error("expected ']'");
    }
  }
  if (num_colons > 0) {
    return Make(Expression::kSlice, "", std::move(operand), std::move(parts[0]), std::move(parts[1]),
                std::move(parts[2]));
  }
  if (parts[0] == nullptr) return Error("expected an expression");
  return Make(Expression::kSubscript, "", std::move(operand), std::move(parts[0]));
}

ParsedExpression ExpressionParser::ParseFilters(ExpressionPtr operand) {
  for (;;) {
    if (TakeOperator("|")) {
      Expression filter{.kind = Expression::kFilter};
      ASSIGN_OR_RETURN(filter.name, Identifier());
      if (!IsFilter(filter.name)) return Error(absl::StrCat("the filter \"", filter.name, "\" is not supported"));
      filter.operands.push_back(std::move(operand));
      if (IsOperator("(")) RETURN_IF_ERROR(ParseArguments(filter));
      ASSIGN_OR_RETURN(operand, Make(std::move(filter)));
    } else if (TakeName("is")) {
      ASSIGN_OR_RETURN(operand, ParseTest(std::move(operand)));
    } else {
      return operand;
    }
  }
}

ParsedExpression ExpressionParser::ParseTest(ExpressionPtr operand) {
  const bool negated = TakeName("not");
  Expression test{.kind = Expression::kTest};
  ASSIGN_OR_RETURN(test.name, Identifier());
  if (!IsTest(test.name)) return Error(absl::StrCat("the test \"", test.name, "\" is not supported"));
  test.operands.push_back(std::move(operand));
  const bool bare_argument =
      IsAt(Token::kString) || IsAt(Token::kInteger) || IsAt(Token::kFloat) || IsOperator("[") ||
      (IsAt(Token::kName) && !IsOneOf(Token::kName, {"and", "or", "else", "if", "is", "in", "not"}));
  if (IsOperator("(")) {
    RETURN_IF_ERROR(ParseArguments(test));
  } else if (bare_argument) {
    ASSIGN_OR_RETURN(ExpressionPtr argument, ParsePrimary());
    ASSIGN_OR_RETURN(test.operands.emplace_back(), ParsePostfix(std::move(argument)));
  }
  ASSIGN_OR_RETURN(ExpressionPtr result, Make(std::move(test)));
  if (!negated) return result;
  return Make(Expression::kNot, "", std::move(result));
}

absl::Status ExpressionParser::ParseArguments(Expression& call) {
  RETURN_IF_ERROR(ExpectOperator("("));
  while (!TakeOperator(")")) {
    if (IsAt(Token::kName) && Next().kind == Token::kOperator && Next().text == "=") {
      std::string name = Take();
      Skip(1);
      ASSIGN_OR_RETURN(ExpressionPtr value, ParseExpression());
      call.named.emplace_back(std::move(name), std::move(value));
    } else {
      ASSIGN_OR_RETURN(call.operands.emplace_back(), ParseExpression());
    }
    if (!IsOperator(")")) RETURN_IF_ERROR(ExpectOperator(","));
  }
  return absl::OkStatus();
}

}  // namespace quire::jinja
