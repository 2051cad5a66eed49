// The filters, tests, methods and functions of the template language, all charged to the rendering's budget. They work
// on ASCII where Python knows the letter case of all of Unicode.
#pragma once

#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/tokenizer/jinja/value.h"

namespace quire::jinja {

// What a filter, test, method or function is called with.
struct Arguments {
  std::vector<Value> positional = {};  // A filter's, test's or method's subject is not among them.
  std::vector<std::pair<std::string, Value>> named = {};

  // The argument at `index` or called `name`; undefined if there is none.
  Value Get(size_t index, std::string_view name) const;
};

bool IsFilter(std::string_view name);
bool IsTest(std::string_view name);

// REQUIRES: IsFilter(name).
absl::StatusOr<Value> ApplyFilter(std::string_view name, const Value& subject, const Arguments& arguments,
                                  Budget& budget);
// REQUIRES: IsTest(name).
absl::StatusOr<bool> ApplyTest(std::string_view name, const Value& subject, const Arguments& arguments, Budget& budget);
// subject.name(arguments) for a string or a dict.
absl::StatusOr<Value> CallMethod(std::string_view name, const Value& subject, const Arguments& arguments,
                                 Budget& budget);

// The function of that name as a value; undefined if there is none.
Value FindFunction(std::string_view name);
inline constexpr std::string_view kRaiseException = "raise_exception";
// REQUIRES: FindFunction(name) is defined.
absl::StatusOr<Value> CallFunction(std::string_view name, const Arguments& arguments, Budget& budget);

}  // namespace quire::jinja
