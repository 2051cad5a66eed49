// Parses the expressions of the template language; the statements around them are in parser.cc.
#pragma once

#include <algorithm>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "engine/tokenizer/jinja/ast.h"
#include "engine/tokenizer/jinja/lexer.h"

namespace quire::jinja {

using ParsedExpression = absl::StatusOr<ExpressionPtr>;

// Where a parser stands in the tokens. The last token, kEnd, is never taken.
class TokenCursor {
 public:
  explicit TokenCursor(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

 protected:
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
  void Skip(int count) { at_ += count; }

 private:
  std::vector<Token> tokens_;
  size_t at_ = 0;
};

class ExpressionParser : protected TokenCursor {
 public:
  using TokenCursor::TokenCursor;

 protected:
  // One expression, or several with commas between, which are a list. Without `conditional`, an "if" is left for the
  // loop.
  ParsedExpression ParseTuple(bool conditional);
  ParsedExpression ParseExpression();
  // What stands in parentheses after a name, into operands and named.
  absl::Status ParseArguments(Expression& call);

  // The finished expression, its line and depth filled in.
  ParsedExpression Make(Expression expression) const;
  template <typename... Args>
  ParsedExpression Make(Expression::Kind kind, std::string name, Args... operands) const {
    Expression expression{.kind = kind, .name = std::move(name)};
    (expression.operands.push_back(std::move(operands)), ...);
    return Make(std::move(expression));
  }

  absl::Status CheckNesting(int depth) const {
    return depth <= kMaxNesting ? absl::OkStatus() : Error("nested too deeply");
  }
  int depth_ = 0;  // How deep the parser itself is.

 private:
  // Loosest first.
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
  absl::Status ParseItems(const char* close, bool pairs, std::vector<ExpressionPtr>& items);
  ParsedExpression ParseLeftAssociative(Expression::Kind kind, std::initializer_list<std::string_view> operators,
                                        ParsedExpression (ExpressionParser::*operand)());
};

}  // namespace quire::jinja
