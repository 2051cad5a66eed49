// What a template is once parsed. Immutable, and shared by all renderings.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/tokenizer/jinja/value.h"

namespace quire::jinja {

// No part of a template nests deeper than this, so that parsing, rendering and freeing it may recurse.
inline constexpr int kMaxNesting = 150;

// Counts how deep a recursion is, from its making to its end.
class Nesting {
 public:
  explicit Nesting(int& depth) : depth_(++depth) {}
  ~Nesting() { --depth_; }
  Nesting(const Nesting&) = delete;
  Nesting& operator=(const Nesting&) = delete;

 private:
  int& depth_;
};

struct Expression;
using ExpressionPtr = std::unique_ptr<const Expression>;

struct Expression {
  enum Kind {
    kLiteral,      // literal
    kName,         // name
    kList,         // operands
    kDict,         // operands: key, value, key, value ...
    kNot,          // operands[0]
    kNegate,       // operands[0]
    kAnd,          // operands[0], operands[1]
    kOr,           // operands[0], operands[1]
    kBinary,       // operands[0] name operands[1]; name is the operator
    kCompare,      // operands[0] operators[0] operands[1] operators[1] operands[2] ...: all must hold
    kConditional,  // operands[0] if operands[1] else operands[2] (may be null)
    kAttribute,    // operands[0].name
    kSubscript,    // operands[0][operands[1]]
    kSlice,        // operands[0][operands[1] : operands[2] : operands[3]], the last three may be null
    kCall,         // operands[0](the other operands, named)
    kFilter,       // operands[0] | name(the other operands, named)
    kTest,         // operands[0] is name(the other operands)
  };
  Kind kind;
  int line = 0;
  int depth = 1;  // 1 + the deepest operand's.
  std::string name = {};
  Value literal = {};
  std::vector<ExpressionPtr> operands = {};
  std::vector<std::string> operators = {};
  std::vector<std::pair<std::string, ExpressionPtr>> named = {};
};

struct Statement;
using Block = std::vector<Statement>;

struct Statement {
  enum Kind {
    kText,         // text
    kOutput,       // {{ value }}
    kIf,           // branches: the first whose condition holds (none: else)
    kFor,          // for targets in value if condition: body, otherwise
    kSet,          // set targets = value; the target "a.b" sets an attribute of a namespace
    kSetBlock,     // set targets: body
    kFilterBlock,  // filter value: body; value is a kFilter without its first operand
    kMacro,        // macro
    kBreak,
    kContinue,
  };
  Kind kind;
  int line = 0;
  std::string text = {};
  ExpressionPtr value = {}, condition = {};
  std::vector<std::string> targets = {};
  Block body = {}, otherwise = {};
  std::vector<std::pair<ExpressionPtr, Block>> branches = {};
  std::unique_ptr<const Macro> macro = {};
};

struct Macro {
  std::string name;
  std::vector<std::pair<std::string, ExpressionPtr>> parameters;  // With defaults, null where there is none.
  Block body;
};

}  // namespace quire::jinja
