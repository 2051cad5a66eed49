// The operators between two values, as Python has them; integers are of 64 bits, and what overflows is an error.
#pragma once

#include <string_view>

#include "absl/status/statusor.h"
#include "engine/tokenizer/jinja/value.h"

namespace quire::jinja {

// One of + - * / // % ** ~.
absl::StatusOr<Value> ApplyOperator(std::string_view op, const Value& left, const Value& right, Budget& budget);
// One of == != < <= > >= in, not in.
absl::StatusOr<bool> ApplyComparison(std::string_view op, const Value& left, const Value& right, Budget& budget);

}  // namespace quire::jinja
