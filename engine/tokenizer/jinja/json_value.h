// Values of the template language from JSON, and as JSON.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "engine/tokenizer/jinja/value.h"
#include "engine/types/json.h"

namespace quire::jinja {

// INVALID_ARGUMENT where lists and dicts are nested more than kMaxValueDepth deep. An integer beyond 64 bits is a
// float.
absl::StatusOr<Value> FromJson(const Json& json, Budget& budget);

// How Python's json.dumps is told to write.
struct JsonStyle {
  int indent = -1;  // Below 0: all on one line.
  std::string item_separator = ", ";
  std::string key_separator = ": ";
  bool ensure_ascii = false;
  bool sort_keys = false;
};
// Appends the value as json.dumps writes it.
absl::Status AppendJson(const Value& value, const JsonStyle& style, TextBuilder& out);

}  // namespace quire::jinja
