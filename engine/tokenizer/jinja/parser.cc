#include "engine/tokenizer/jinja/parser.h"

#include <algorithm>
#include <initializer_list>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "engine/tokenizer/jinja/builtins.h"
#include "engine/tokenizer/jinja/lexer.h"
#include "engine/types/status_macros.h"

namespace quire::jinja {
namespace {

using ParsedExpression = absl::StatusOr<ExpressionPtr>;
using Operands = std::vector<ExpressionPtr>;

class Parser {
 public:
  explicit Parser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  absl::StatusOr<Block> Run() {
    ASSIGN_OR_RETURN(Block block, ParseBlock({}));
    if (!IsAt(Token::kEnd)) return Error("unexpected end tag");
    return block;
  }

 private:
  // Counts how deep the parser is, from its making to its end.
  class Nesting {
   public:
    explicit Nesting(int& depth) : depth_(++depth) {}
    ~Nesting() { --depth_; }

   private:
    int& depth_;
  };

  const Token& Here() const { return tokens_[at_]; }
  const Token& Next() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  bool IsAt(Token::Kind kind) const { return Here().kind == kind; }
  bool IsName(std::string_view name) const { return IsAt(Token::kName) && Here().text == name; }
  bool IsOperator(std::string_view op) const { return IsAt(Token::kOperator) && Here().text == op; }
  bool IsOneOf(Token::Kind kind, std::initializer_list<std::string_view> texts) const {
    return IsAt(kind) && std::find(texts.begin(), texts.end(), Here().text) != texts.end();
  }
  std::string Take() { return std::move(tokens_[at_++].text); }
  bool TakeIf(bool condition) {
    if (condition) ++at_;
    return condition;
  }
  bool TakeName(std::string_view name) { return TakeIf(IsName(name)); }
  bool TakeOperator(std::string_view op) { return TakeIf(IsOperator(op)); }

  absl::Status Error(const std::string& what) const {
    return absl::InvalidArgumentError(absl::StrCat("chat template, line ", Here().line, ": ", what));
  }
  absl::Status Expect(Token::Kind kind, const char* what) {
    return TakeIf(IsAt(kind)) ? absl::OkStatus() : Error(absl::StrCat("expected ", what));
  }
  absl::Status ExpectOperator(const char* op) {
    return TakeOperator(op) ? absl::OkStatus() : Error(absl::StrCat("expected '", op, "'"));
  }
  absl::Status ExpectName(const char* name) {
    return TakeName(name) ? absl::OkStatus() : Error(absl::StrCat("expected '", name, "'"));
  }
  absl::StatusOr<std::string> Identifier() {
    if (!IsAt(Token::kName)) return Error("expected a name");
    return Take();
  }
  absl::Status CheckNesting(int depth) const {
    return depth <= kMaxNesting ? absl::OkStatus() : Error("nested too deeply");
  }

  ParsedExpression Make(Expression expression) const {
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
  template <typename... Args>
  ParsedExpression Make(Expression::Kind kind, std::string name, Args... operands) const {
    Expression expression{.kind = kind, .name = std::move(name)};
    (expression.operands.push_back(std::move(operands)), ...);
    return Make(std::move(expression));
  }

  // Statements.
  absl::StatusOr<Block> ParseBlock(std::initializer_list<std::string_view> ends);
  absl::Status ParseTag(Block& block);
  absl::Status ParseBody(Block& body, const char* end);
  absl::Status ParseIf(Statement& statement);
  absl::Status ParseFor(Statement& statement);
  absl::Status ParseSet(Statement& statement);
  absl::Status ParseMacro(Statement& statement);
  absl::Status ParseFilterBlock(Statement& statement);
  absl::StatusOr<std::vector<std::string>> ParseTargets(bool attributes);

  // Expressions, loosest first.
  ParsedExpression ParseTuple(bool conditional);
  ParsedExpression ParseExpression();
  ParsedExpression ParseOr();
  ParsedExpression ParseAnd();
  ParsedExpression ParseNot();
  ParsedExpression ParseCompare();
  ParsedExpression ParseSum();
  ParsedExpression ParseConcat();
  ParsedExpression ParseProduct();
  ParsedExpression ParsePower();
  ParsedExpression ParseUnary(bool with_filters);
  ParsedExpression ParsePrimary();
  ParsedExpression ParsePostfix(ExpressionPtr operand);
  ParsedExpression ParseFilters(ExpressionPtr operand);
  ParsedExpression ParseTest(ExpressionPtr operand);
  ParsedExpression ParseSubscript(ExpressionPtr operand);
  ParsedExpression ParseLiteral();
  absl::Status ParseItems(const char* close, bool pairs, Operands& items);
  absl::Status ParseArguments(Expression& call);
  ParsedExpression ParseLeftAssociative(Expression::Kind kind, std::initializer_list<std::string_view> operators,
                                        ParsedExpression (Parser::*operand)());

  std::vector<Token> tokens_;
  size_t at_ = 0;
  int depth_ = 0;
};

absl::StatusOr<Block> Parser::ParseBlock(std::initializer_list<std::string_view> ends) {
  const Nesting nesting(depth_);
  RETURN_IF_ERROR(CheckNesting(depth_));
  Block block;
  while (!IsAt(Token::kEnd)) {
    if (IsAt(Token::kText)) {
      block.push_back({.kind = Statement::kText, .line = Here().line, .text = Take()});
    } else if (TakeIf(IsAt(Token::kOutputBegin))) {
      Statement& output = block.emplace_back(Statement{.kind = Statement::kOutput, .line = Here().line});
      ASSIGN_OR_RETURN(output.value, ParseTuple(/*conditional=*/true));
      RETURN_IF_ERROR(Expect(Token::kOutputEnd, "}}"));
    } else {
      const std::string& name = Next().text;
      if (std::find(ends.begin(), ends.end(), name) != ends.end()) return block;
      if (ends.size() == 0 && name.starts_with("end") && name != "endgeneration") return block;
      ++at_;
      RETURN_IF_ERROR(ParseTag(block));
    }
  }
  if (ends.size() > 0) return Error(absl::StrCat("expected {% ", std::string(*(ends.end() - 1)), " %}"));
  return block;
}

absl::Status Parser::ParseTag(Block& block) {
  Statement statement{.kind = Statement::kText, .line = Here().line};
  ASSIGN_OR_RETURN(const std::string name, Identifier());
  if (name == "if") {
    RETURN_IF_ERROR(ParseIf(statement));
  } else if (name == "for") {
    RETURN_IF_ERROR(ParseFor(statement));
  } else if (name == "set") {
    RETURN_IF_ERROR(ParseSet(statement));
  } else if (name == "macro") {
    RETURN_IF_ERROR(ParseMacro(statement));
  } else if (name == "filter") {
    RETURN_IF_ERROR(ParseFilterBlock(statement));
  } else if (name == "break" || name == "continue") {
    statement.kind = name == "break" ? Statement::kBreak : Statement::kContinue;
  } else if (name != "generation" && name != "endgeneration") {  // Those only mark the assistant's text for training.
    return Error(absl::StrCat("the statement {% ", name, " %} is not supported"));
  }
  RETURN_IF_ERROR(Expect(Token::kBlockEnd, "%}"));
  block.push_back(std::move(statement));
  return absl::OkStatus();
}

// From the end of the opening tag to the name in the closing one.
absl::Status Parser::ParseBody(Block& body, const char* end) {
  RETURN_IF_ERROR(Expect(Token::kBlockEnd, "%}"));
  ASSIGN_OR_RETURN(body, ParseBlock({end}));
  at_ += 2;
  return absl::OkStatus();
}

absl::Status Parser::ParseIf(Statement& statement) {
  statement.kind = Statement::kIf;
  bool more = true;
  while (more) {
    auto& [condition, body] = statement.branches.emplace_back();
    ASSIGN_OR_RETURN(condition, ParseExpression());
    RETURN_IF_ERROR(Expect(Token::kBlockEnd, "%}"));
    ASSIGN_OR_RETURN(body, ParseBlock({"elif", "else", "endif"}));
    ++at_;
    more = TakeName("elif");
  }
  if (TakeName("else")) return ParseBody(statement.branches.emplace_back().second, "endif");
  return ExpectName("endif");
}

absl::Status Parser::ParseFor(Statement& statement) {
  statement.kind = Statement::kFor;
  ASSIGN_OR_RETURN(statement.targets, ParseTargets(/*attributes=*/false));
  RETURN_IF_ERROR(ExpectName("in"));
  ASSIGN_OR_RETURN(statement.value, ParseTuple(/*conditional=*/false));
  if (TakeName("if")) {
    ASSIGN_OR_RETURN(statement.condition, ParseExpression());
  }
  RETURN_IF_ERROR(Expect(Token::kBlockEnd, "%}"));
  ASSIGN_OR_RETURN(statement.body, ParseBlock({"else", "endfor"}));
  ++at_;
  if (TakeName("else")) return ParseBody(statement.otherwise, "endfor");
  return ExpectName("endfor");
}

absl::Status Parser::ParseSet(Statement& statement) {
  ASSIGN_OR_RETURN(statement.targets, ParseTargets(/*attributes=*/true));
  if (TakeOperator("=")) {
    statement.kind = Statement::kSet;
    ASSIGN_OR_RETURN(statement.value, ParseTuple(/*conditional=*/true));
    return absl::OkStatus();
  }
  statement.kind = Statement::kSetBlock;
  if (statement.targets.size() != 1) return Error("a set block sets one name");
  return ParseBody(statement.body, "endset");
}

absl::Status Parser::ParseMacro(Statement& statement) {
  statement.kind = Statement::kMacro;
  auto macro = std::make_unique<Macro>();
  ASSIGN_OR_RETURN(macro->name, Identifier());
  RETURN_IF_ERROR(ExpectOperator("("));
  while (!TakeOperator(")")) {
    if (!macro->parameters.empty()) RETURN_IF_ERROR(ExpectOperator(","));
    auto& [name, otherwise] = macro->parameters.emplace_back();
    ASSIGN_OR_RETURN(name, Identifier());
    if (TakeOperator("=")) {
      ASSIGN_OR_RETURN(otherwise, ParseExpression());
    }
  }
  RETURN_IF_ERROR(ParseBody(macro->body, "endmacro"));
  statement.macro = std::move(macro);
  return absl::OkStatus();
}

absl::Status Parser::ParseFilterBlock(Statement& statement) {
  statement.kind = Statement::kFilterBlock;
  Expression filter{.kind = Expression::kFilter};
  ASSIGN_OR_RETURN(filter.name, Identifier());
  if (!IsFilter(filter.name)) return Error(absl::StrCat("the filter \"", filter.name, "\" is not supported"));
  if (IsOperator("(")) RETURN_IF_ERROR(ParseArguments(filter));
  ASSIGN_OR_RETURN(statement.value, Make(std::move(filter)));
  return ParseBody(statement.body, "endfilter");
}

absl::StatusOr<std::vector<std::string>> Parser::ParseTargets(bool attributes) {
  std::vector<std::string> targets;
  const bool parenthesized = TakeOperator("(");
  do {
    ASSIGN_OR_RETURN(std::string target, Identifier());
    if (attributes && TakeOperator(".")) {
      ASSIGN_OR_RETURN(const std::string attribute, Identifier());
      absl::StrAppend(&target, ".", attribute);
    }
    targets.push_back(std::move(target));
  } while (TakeOperator(","));
  if (parenthesized) RETURN_IF_ERROR(ExpectOperator(")"));
  return targets;
}

// One expression, or several with commas between, which are a list. Without `conditional`, an "if" is left for the
// loop.
ParsedExpression Parser::ParseTuple(bool conditional) {
  ASSIGN_OR_RETURN(ExpressionPtr first, conditional ? ParseExpression() : ParseOr());
  if (!IsOperator(",")) return first;
  Expression list{.kind = Expression::kList};
  list.operands.push_back(std::move(first));
  while (TakeOperator(",")) {
    ASSIGN_OR_RETURN(list.operands.emplace_back(), conditional ? ParseExpression() : ParseOr());
  }
  return Make(std::move(list));
}

ParsedExpression Parser::ParseExpression() {
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

ParsedExpression Parser::ParseOr() {
  ASSIGN_OR_RETURN(ExpressionPtr left, ParseAnd());
  while (TakeName("or")) {
    ASSIGN_OR_RETURN(ExpressionPtr right, ParseAnd());
    ASSIGN_OR_RETURN(left, Make(Expression::kOr, "", std::move(left), std::move(right)));
  }
  return left;
}

ParsedExpression Parser::ParseAnd() {
  ASSIGN_OR_RETURN(ExpressionPtr left, ParseNot());
  while (TakeName("and")) {
    ASSIGN_OR_RETURN(ExpressionPtr right, ParseNot());
    ASSIGN_OR_RETURN(left, Make(Expression::kAnd, "", std::move(left), std::move(right)));
  }
  return left;
}

ParsedExpression Parser::ParseNot() {
  if (!TakeName("not")) return ParseCompare();
  const Nesting nesting(depth_);
  RETURN_IF_ERROR(CheckNesting(depth_));
  ASSIGN_OR_RETURN(ExpressionPtr operand, ParseNot());
  return Make(Expression::kNot, "", std::move(operand));
}

ParsedExpression Parser::ParseCompare() {
  Expression compare{.kind = Expression::kCompare};
  ASSIGN_OR_RETURN(compare.operands.emplace_back(), ParseSum());
  for (;;) {
    if (IsOneOf(Token::kOperator, {"==", "!=", "<", "<=", ">", ">="}) || IsName("in")) {
      compare.operators.push_back(Take());
    } else if (IsName("not") && Next().kind == Token::kName && Next().text == "in") {
      at_ += 2;
      compare.operators.push_back("not in");
    } else {
      break;
    }
    ASSIGN_OR_RETURN(compare.operands.emplace_back(), ParseSum());
  }
  if (compare.operators.empty()) return std::move(compare.operands[0]);
  return Make(std::move(compare));
}

ParsedExpression Parser::ParseLeftAssociative(Expression::Kind kind, std::initializer_list<std::string_view> operators,
                                              ParsedExpression (Parser::*operand)()) {
  ASSIGN_OR_RETURN(ExpressionPtr left, (this->*operand)());
  while (IsOneOf(Token::kOperator, operators)) {
    std::string op = Take();
    ASSIGN_OR_RETURN(ExpressionPtr right, (this->*operand)());
    ASSIGN_OR_RETURN(left, Make(kind, std::move(op), std::move(left), std::move(right)));
  }
  return left;
}

ParsedExpression Parser::ParseSum() {
  return ParseLeftAssociative(Expression::kBinary, {"+", "-"}, &Parser::ParseConcat);
}
ParsedExpression Parser::ParseConcat() {
  return ParseLeftAssociative(Expression::kBinary, {"~"}, &Parser::ParseProduct);
}
ParsedExpression Parser::ParseProduct() {
  return ParseLeftAssociative(Expression::kBinary, {"*", "/", "//", "%"}, &Parser::ParsePower);
}
ParsedExpression Parser::ParsePower() {
  ASSIGN_OR_RETURN(ExpressionPtr left, ParseUnary(/*with_filters=*/true));
  while (TakeOperator("**")) {
    ASSIGN_OR_RETURN(ExpressionPtr right, ParseUnary(/*with_filters=*/true));
    ASSIGN_OR_RETURN(left, Make(Expression::kBinary, "**", std::move(left), std::move(right)));
  }
  return left;
}

// A sign binds tighter than a filter: -1|abs is (-1)|abs.
ParsedExpression Parser::ParseUnary(bool with_filters) {
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

ParsedExpression Parser::ParsePrimary() {
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

ParsedExpression Parser::ParseLiteral() {
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
absl::Status Parser::ParseItems(const char* close, bool pairs, Operands& items) {
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

ParsedExpression Parser::ParsePostfix(ExpressionPtr operand) {
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

ParsedExpression Parser::ParseSubscript(ExpressionPtr operand) {
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

ParsedExpression Parser::ParseFilters(ExpressionPtr operand) {
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

ParsedExpression Parser::ParseTest(ExpressionPtr operand) {
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

absl::Status Parser::ParseArguments(Expression& call) {
  RETURN_IF_ERROR(ExpectOperator("("));
  while (!TakeOperator(")")) {
    if (IsAt(Token::kName) && Next().kind == Token::kOperator && Next().text == "=") {
      std::string name = Take();
      ++at_;
      ASSIGN_OR_RETURN(ExpressionPtr value, ParseExpression());
      call.named.emplace_back(std::move(name), std::move(value));
    } else {
      ASSIGN_OR_RETURN(call.operands.emplace_back(), ParseExpression());
    }
    if (!IsOperator(")")) RETURN_IF_ERROR(ExpectOperator(","));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Block> Parse(std::string_view source) {
  ASSIGN_OR_RETURN(std::vector<Token> tokens, Tokenize(source));
  return Parser(std::move(tokens)).Run();
}

}  // namespace quire::jinja
