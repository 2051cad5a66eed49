// JSON that others sent: its values, and a parser that no text can make slow, deep or large.
#pragma once

#include <nlohmann/json.hpp>
#include <string_view>

#include "absl/status/statusor.h"

namespace quire {

// Keeps the order of keys, which chat templates show to the model. Looking a key up takes time in their number.
using Json = nlohmann::ordered_json;

// Arrays and objects nest this deep at most, so that whoever walks a value may recurse.
inline constexpr int kMaxJsonDepth = 64;
// Values in all, since each takes memory out of proportion to its text.
inline constexpr int kMaxJsonValues = 1 << 20;

// Takes time linear in the text (times log). INVALID_ARGUMENT says what is wrong and where: no JSON, invalid UTF-8,
// nesting beyond kMaxJsonDepth, more than kMaxJsonValues values, a key that an object has twice.
absl::StatusOr<Json> ParseJson(std::string_view text);

}  // namespace quire
