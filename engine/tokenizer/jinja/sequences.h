// Strings, lists and dicts as things to go through, index and slice. A string is a sequence of characters, not of
// bytes.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "engine/tokenizer/jinja/value.h"

namespace quire::jinja {

// What a loop goes over: the items of a list, the keys of a dict, the characters of a string; nothing for undefined.
absl::StatusOr<std::vector<Value>> Iterate(const Value& value, Budget& budget);
// value[key] and value.key: undefined if there is no such item.
absl::StatusOr<Value> Subscript(const Value& value, const Value& key, Budget& budget);
// value[start:stop:step], each perhaps undefined.
absl::StatusOr<Value> Slice(const Value& value, const Value& start, const Value& stop, const Value& step,
                            Budget& budget);
absl::StatusOr<bool> Contains(const Value& container, const Value& item, Budget& budget);

}  // namespace quire::jinja
