#include "engine/tokenizer/jinja/interpreter.h"

#include <algorithm>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "engine/tokenizer/jinja/builtins.h"
#include "engine/tokenizer/jinja/operators.h"
#include "engine/tokenizer/jinja/sequences.h"
#include "engine/types/status_macros.h"
#include "kernels/check.h"

namespace quire::jinja {
namespace {

absl::Status Mistake(const std::string& what) { return absl::InvalidArgumentError(what); }

// The names that one loop iteration, macro call or the whole template sets.
struct Scope {
  const Scope* outer = nullptr;
  absl::flat_hash_map<std::string, Value> names = {};

  const Value* Find(const std::string& name) const {
    for (const Scope* scope = this; scope != nullptr; scope = scope->outer) {
      if (const auto found = scope->names.find(name); found != scope->names.end()) return &found->second;
    }
    return nullptr;
  }
};

enum class Flow { kOn, kBreak, kContinue };

class Interpreter {
 public:
  Interpreter(Scope& globals, Budget& budget) : globals_(globals), budget_(budget) {}

  absl::StatusOr<Flow> Run(const Block& block, Scope& scope, TextBuilder& out) {
    const Nesting nesting(depth_);
    RETURN_IF_ERROR(CheckNesting());
    for (const Statement& statement : block) {
      RETURN_IF_ERROR(budget_.Charge(kStepUnits));
      absl::StatusOr<Flow> flow = RunOne(statement, scope, out);
      if (!flow.ok()) return AtLine(flow.status(), statement.line);
      if (*flow != Flow::kOn) return flow;
    }
    return Flow::kOn;
  }

 private:
  absl::Status CheckNesting() const {
    // Macros may call macros: as deep again as a template may be nested.
    return depth_ <= 2 * kMaxNesting ? absl::OkStatus()
                                     : Mistake("nested too deeply, or a macro calls itself without end");
  }

  // Says where it happened, once: the innermost line.
  absl::Status AtLine(const absl::Status& status, int line) {
    if (error_has_line_ || refused_) return status;
    error_has_line_ = true;
    return Mistake(absl::StrCat("chat template, line ", line, ": ", status.message()));
  }

  absl::StatusOr<Flow> RunOne(const Statement& statement, Scope& scope, TextBuilder& out);
  absl::StatusOr<Flow> RunIf(const Statement& statement, Scope& scope, TextBuilder& out);
  absl::StatusOr<Flow> RunFor(const Statement& statement, Scope& scope, TextBuilder& out);
  absl::StatusOr<Value> LoopVariable(const std::vector<Value>& items, size_t index);
  absl::StatusOr<Value> Capture(const Block& body, Scope& scope);
  absl::Status Assign(const std::vector<std::string>& targets, const Value& value, Scope& scope);
  absl::Status AssignOne(const std::string& target, const Value& value, Scope& scope);

  absl::StatusOr<Value> Evaluate(const Expression& expression, Scope& scope);
  absl::StatusOr<Value> EvaluateOne(const Expression& expression, Scope& scope);
  absl::StatusOr<Value> EvaluateOptional(const ExpressionPtr& expression, Scope& scope) {
    return expression ? Evaluate(*expression, scope) : Value();
  }
  Value Lookup(const std::string& name, const Scope& scope) const;
  absl::StatusOr<Value> EvaluateContainer(const Expression& expression, Scope& scope);
  absl::StatusOr<Value> EvaluateCompare(const Expression& expression, Scope& scope);
  absl::StatusOr<Arguments> EvaluateArguments(const Expression& expression, size_t first, Scope& scope);
  absl::StatusOr<Value> EvaluateCall(const Expression& expression, Scope& scope);
  absl::StatusOr<Value> CallMacro(const Macro& macro, const Arguments& arguments);
  absl::StatusOr<Value> CallFunction(std::string_view name, const Arguments& arguments);

  Scope& globals_;
  Budget& budget_;
  int depth_ = 0;
  bool error_has_line_ = false;
  bool refused_ = false;  // By raise_exception: its words stand alone.
};

absl::StatusOr<Flow> Interpreter::RunOne(const Statement& statement, Scope& scope, TextBuilder& out) {
  switch (statement.kind) {
    case Statement::kText:
      RETURN_IF_ERROR(out.Append(statement.text));
      return Flow::kOn;
    case Statement::kOutput: {
      ASSIGN_OR_RETURN(const Value value, Evaluate(*statement.value, scope));
      RETURN_IF_ERROR(AppendText(value, out));
      return Flow::kOn;
    }
    case Statement::kIf:
      return RunIf(statement, scope, out);
    case Statement::kFor:
      return RunFor(statement, scope, out);
    case Statement::kSet: {
      ASSIGN_OR_RETURN(const Value value, Evaluate(*statement.value, scope));
      RETURN_IF_ERROR(Assign(statement.targets, value, scope));
      return Flow::kOn;
    }
    case Statement::kSetBlock: {
      ASSIGN_OR_RETURN(const Value text, Capture(statement.body, scope));
      RETURN_IF_ERROR(Assign(statement.targets, text, scope));
      return Flow::kOn;
    }
    case Statement::kFilterBlock: {
      ASSIGN_OR_RETURN(const Value text, Capture(statement.body, scope));
      ASSIGN_OR_RETURN(const Arguments arguments, EvaluateArguments(*statement.value, 0, scope));
      ASSIGN_OR_RETURN(const Value value, ApplyFilter(statement.value->name, text, arguments, budget_));
      RETURN_IF_ERROR(AppendText(value, out));
      return Flow::kOn;
    }
    case Statement::kMacro:
      scope.names[statement.macro->name] = statement.macro.get();
      return Flow::kOn;
    case Statement::kBreak:
      return Flow::kBreak;
    case Statement::kContinue:
      return Flow::kContinue;
  }
  QUIRE_CHECK(false);
}

absl::StatusOr<Flow> Interpreter::RunIf(const Statement& statement, Scope& scope, TextBuilder& out) {
  for (const auto& [condition, body] : statement.branches) {
    bool holds = condition == nullptr;
    if (!holds) {
      ASSIGN_OR_RETURN(const Value value, Evaluate(*condition, scope));
      holds = value.Truthy();
    }
    if (holds) return Run(body, scope, out);
  }
  return Flow::kOn;
}

absl::StatusOr<Flow> Interpreter::RunFor(const Statement& statement, Scope& scope, TextBuilder& out) {
  ASSIGN_OR_RETURN(const Value value, Evaluate(*statement.value, scope));
  ASSIGN_OR_RETURN(std::vector<Value> items, Iterate(value, budget_));
  if (statement.condition) {
    std::vector<Value> kept;
    for (Value& item : items) {
      Scope iteration{.outer = &scope};
      RETURN_IF_ERROR(Assign(statement.targets, item, iteration));
      ASSIGN_OR_RETURN(const Value keep, Evaluate(*statement.condition, iteration));
      if (keep.Truthy()) kept.push_back(std::move(item));
    }
    items = std::move(kept);
  }
  if (items.empty()) return Run(statement.otherwise, scope, out);
  for (size_t i = 0; i < items.size(); ++i) {
    Scope iteration{.outer = &scope};
    ASSIGN_OR_RETURN(iteration.names["loop"], LoopVariable(items, i));
    RETURN_IF_ERROR(Assign(statement.targets, items[i], iteration));
    ASSIGN_OR_RETURN(const Flow flow, Run(statement.body, iteration, out));
    if (flow == Flow::kBreak) break;
  }
  return Flow::kOn;
}

absl::StatusOr<Value> Interpreter::LoopVariable(const std::vector<Value>& items, size_t index) {
  const int64_t i = static_cast<int64_t>(index), size = static_cast<int64_t>(items.size());
  return Value::MakeDict({{"index", i + 1},
                          {"index0", i},
                          {"revindex", size - i},
                          {"revindex0", size - i - 1},
                          {"first", i == 0},
                          {"last", i == size - 1},
                          {"length", size},
                          {"previtem", i > 0 ? items[index - 1] : Value()},
                          {"nextitem", i + 1 < size ? items[index + 1] : Value()}},
                         budget_);
}

absl::StatusOr<Value> Interpreter::Capture(const Block& body, Scope& scope) {
  TextBuilder text(budget_);
  ASSIGN_OR_RETURN(const Flow flow, Run(body, scope, text));
  if (flow != Flow::kOn) return Mistake("break and continue cannot leave a macro, set or filter block");
  return Value::MakeString(text.Take(), budget_);
}

absl::Status Interpreter::Assign(const std::vector<std::string>& targets, const Value& value, Scope& scope) {
  if (targets.size() == 1) return AssignOne(targets[0], value, scope);
  const List* list = value.AsList();
  if (list == nullptr || list->items.size() != targets.size()) {
    return Mistake(
        absl::StrCat("a value of type ", value.TypeName(), " does not unpack into ", targets.size(), " names"));
  }
  for (size_t i = 0; i < targets.size(); ++i) RETURN_IF_ERROR(AssignOne(targets[i], list->items[i], scope));
  return absl::OkStatus();
}

absl::Status Interpreter::AssignOne(const std::string& target, const Value& value, Scope& scope) {
  const size_t dot = target.find('.');
  if (dot == std::string::npos) {
    RETURN_IF_ERROR(budget_.Charge(target.size() + sizeof(Value)));
    scope.names[target] = value;
    return absl::OkStatus();
  }
  Namespace* space = Lookup(target.substr(0, dot), scope).AsNamespace();
  if (space == nullptr) return Mistake(absl::StrCat("\"", target.substr(0, dot), "\" is not a namespace"));
  if (value.AsNamespace() != nullptr) return Mistake("a namespace cannot be put into a namespace");
  const std::string name = target.substr(dot + 1);
  RETURN_IF_ERROR(budget_.Charge(space->items.size() + name.size() + sizeof(Value)));
  const auto found =
      std::find_if(space->items.begin(), space->items.end(), [&](auto& item) { return item.first == name; });
  if (found == space->items.end()) {
    space->items.emplace_back(name, value);
  } else {
    found->second = value;
  }
  return absl::OkStatus();
}

absl::StatusOr<Value> Interpreter::Evaluate(const Expression& expression, Scope& scope) {
  const Nesting nesting(depth_);
  RETURN_IF_ERROR(CheckNesting());
  RETURN_IF_ERROR(budget_.Charge(kStepUnits));
  absl::StatusOr<Value> value = EvaluateOne(expression, scope);
  if (!value.ok()) return AtLine(value.status(), expression.line);
  return value;
}

absl::StatusOr<Value> Interpreter::EvaluateOne(const Expression& expression, Scope& scope) {
  const auto operand = [&](size_t i) { return Evaluate(*expression.operands[i], scope); };
  switch (expression.kind) {
    case Expression::kLiteral:
      return expression.literal;
    case Expression::kName:
      return Lookup(expression.name, scope);
    case Expression::kList:
    case Expression::kDict:
      return EvaluateContainer(expression, scope);
    case Expression::kNot: {
      ASSIGN_OR_RETURN(const Value value, operand(0));
      return Value(!value.Truthy());
    }
    case Expression::kNegate: {
      ASSIGN_OR_RETURN(const Value value, operand(0));
      return ApplyOperator("-", int64_t{0}, value, budget_);
    }
    case Expression::kAnd:
    case Expression::kOr: {
      ASSIGN_OR_RETURN(Value left, operand(0));
      if (left.Truthy() == (expression.kind == Expression::kOr)) return left;
      return operand(1);
    }
    case Expression::kBinary: {
      ASSIGN_OR_RETURN(const Value left, operand(0));
      ASSIGN_OR_RETURN(const Value right, operand(1));
      return ApplyOperator(expression.name, left, right, budget_);
    }
    case Expression::kCompare:
      return EvaluateCompare(expression, scope);
    case Expression::kConditional: {
      ASSIGN_OR_RETURN(const Value condition, operand(1));
      return condition.Truthy() ? operand(0) : EvaluateOptional(expression.operands[2], scope);
    }
    case Expression::kAttribute: {
      ASSIGN_OR_RETURN(const Value object, operand(0));
      ASSIGN_OR_RETURN(const Value name, Value::MakeString(expression.name, budget_));
      return Subscript(object, name, budget_);
    }
    case Expression::kSubscript: {
      ASSIGN_OR_RETURN(const Value object, operand(0));
      ASSIGN_OR_RETURN(const Value key, operand(1));
      return Subscript(object, key, budget_);
    }
    case Expression::kSlice: {
      ASSIGN_OR_RETURN(const Value object, operand(0));
      ASSIGN_OR_RETURN(const Value start, EvaluateOptional(expression.operands[1], scope));
      ASSIGN_OR_RETURN(const Value stop, EvaluateOptional(expression.operands[2], scope));
      ASSIGN_OR_RETURN(const Value step, EvaluateOptional(expression.operands[3], scope));
      return Slice(object, start, stop, step, budget_);
    }
    case Expression::kCall:
      return EvaluateCall(expression, scope);
    case Expression::kFilter:
    case Expression::kTest: {
      ASSIGN_OR_RETURN(const Value subject, operand(0));
      ASSIGN_OR_RETURN(const Arguments arguments, EvaluateArguments(expression, 1, scope));
      if (expression.kind == Expression::kFilter) return ApplyFilter(expression.name, subject, arguments, budget_);
      ASSIGN_OR_RETURN(const bool holds, ApplyTest(expression.name, subject, arguments, budget_));
      return Value(holds);
    }
  }
  QUIRE_CHECK(false);
}

Value Interpreter::Lookup(const std::string& name, const Scope& scope) const {
  if (const Value* value = scope.Find(name)) return *value;
  return FindFunction(name);
}

absl::StatusOr<Value> Interpreter::EvaluateContainer(const Expression& expression, Scope& scope) {
  std::vector<Value> items;
  for (const ExpressionPtr& operand : expression.operands) {
    ASSIGN_OR_RETURN(items.emplace_back(), Evaluate(*operand, scope));
  }
  if (expression.kind == Expression::kList) return Value::MakeList(std::move(items), budget_);
  std::vector<std::pair<std::string, Value>> pairs;
  for (size_t i = 0; i < items.size(); i += 2) {
    if (items[i].AsString() == nullptr) return Mistake("the keys of a dict are strings");
    pairs.emplace_back(*items[i].AsString(), std::move(items[i + 1]));
  }
  return Value::MakeDict(std::move(pairs), budget_);
}

absl::StatusOr<Value> Interpreter::EvaluateCompare(const Expression& expression, Scope& scope) {
  ASSIGN_OR_RETURN(Value left, Evaluate(*expression.operands[0], scope));
  for (size_t i = 0; i < expression.operators.size(); ++i) {
    ASSIGN_OR_RETURN(Value right, Evaluate(*expression.operands[i + 1], scope));
    ASSIGN_OR_RETURN(const bool holds, ApplyComparison(expression.operators[i], left, right, budget_));
    if (!holds) return Value(false);
    left = std::move(right);
  }
  return Value(true);
}

absl::StatusOr<Arguments> Interpreter::EvaluateArguments(const Expression& expression, size_t first, Scope& scope) {
  Arguments arguments;
  for (size_t i = first; i < expression.operands.size(); ++i) {
    ASSIGN_OR_RETURN(arguments.positional.emplace_back(), Evaluate(*expression.operands[i], scope));
  }
  for (const auto& [name, value] : expression.named) {
    ASSIGN_OR_RETURN(Value argument, Evaluate(*value, scope));
    arguments.named.emplace_back(name, std::move(argument));
  }
  return arguments;
}

absl::StatusOr<Value> Interpreter::EvaluateCall(const Expression& expression, Scope& scope) {
  const Expression& callee = *expression.operands[0];
  ASSIGN_OR_RETURN(const Arguments arguments, EvaluateArguments(expression, 1, scope));
  if (callee.kind == Expression::kAttribute) {
    ASSIGN_OR_RETURN(const Value subject, Evaluate(*callee.operands[0], scope));
    return CallMethod(callee.name, subject, arguments, budget_);
  }
  ASSIGN_OR_RETURN(const Value function, Evaluate(callee, scope));
  if (function.Is<const Macro*>()) return CallMacro(*function.As<const Macro*>(), arguments);
  if (function.Is<Function>()) return CallFunction(function.As<Function>().name, arguments);
  return Mistake(absl::StrCat(callee.kind == Expression::kName ? callee.name : "this", " is not a function"));
}

absl::StatusOr<Value> Interpreter::CallMacro(const Macro& macro, const Arguments& arguments) {
  if (arguments.positional.size() > macro.parameters.size()) {
    return Mistake(absl::StrCat("the macro ", macro.name, " takes at most ", macro.parameters.size(), " arguments"));
  }
  Scope scope{.outer = &globals_};
  for (size_t i = 0; i < macro.parameters.size(); ++i) {
    const auto& [name, otherwise] = macro.parameters[i];
    Value argument = arguments.Get(i, name);
    if (argument.Is<Undefined>() && otherwise) {
      ASSIGN_OR_RETURN(argument, Evaluate(*otherwise, scope));
    }
    scope.names[name] = std::move(argument);
  }
  return Capture(macro.body, scope);
}

absl::StatusOr<Value> Interpreter::CallFunction(std::string_view name, const Arguments& arguments) {
  refused_ = name == kRaiseException;
  return quire::jinja::CallFunction(name, arguments, budget_);
}

}  // namespace

absl::StatusOr<std::string> Render(const Block& program, std::vector<std::pair<std::string, Value>> variables,
                                   Budget& budget) {
  Scope globals;
  for (auto& [name, value] : variables) globals.names[std::move(name)] = std::move(value);
  TextBuilder out(budget);
  ASSIGN_OR_RETURN(const Flow flow, Interpreter(globals, budget).Run(program, globals, out));
  if (flow != Flow::kOn) return Mistake("the chat template has a break or continue outside of a loop");
  return out.Take();
}

}  // namespace quire::jinja
