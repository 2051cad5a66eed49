#include "engine/tokenizer/jinja/parser.h"

#include <algorithm>
#include <initializer_list>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/tokenizer/jinja/builtins.h"
#include "engine/tokenizer/jinja/expression_parser.h"
#include "engine/types/status_macros.h"

namespace quire::jinja {
namespace {

class Parser : private ExpressionParser {
 public:
  using ExpressionParser::ExpressionParser;

  absl::StatusOr<Block> Run() {
    ASSIGN_OR_RETURN(Block block, ParseBlock({}));
    if (!IsAt(Token::kEnd)) return Error("unexpected end tag");
    return block;
  }

 private:
  absl::StatusOr<Block> ParseBlock(std::initializer_list<std::string_view> ends);
  absl::Status ParseTag(Block& block);
  absl::Status ParseBody(Block& body, const char* end);
  absl::Status ParseIf(Statement& statement);
  absl::Status ParseFor(Statement& statement);
  absl::Status ParseSet(Statement& statement);
  absl::Status ParseMacro(Statement& statement);
  absl::Status ParseFilterBlock(Statement& statement);
  absl::StatusOr<std::vector<std::string>> ParseTargets(bool attributes);
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
      Skip(1);
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
  Skip(2);
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
    Skip(1);
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
  Skip(1);
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

}  // namespace

absl::StatusOr<Block> Parse(std::string_view source) {
  ASSIGN_OR_RETURN(std::vector<Token> tokens, Tokenize(source));
  return Parser(std::move(tokens)).Run();
}

}  // namespace quire::jinja
