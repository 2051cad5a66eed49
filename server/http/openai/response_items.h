// The items of /v1/responses, and the messages that templates know.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "server/http/json_fields.h"

namespace quire {

// Messages of `input`: the user's text, or items, which are messages, calls of functions and their outputs. What was
// thought is left out.
absl::StatusOr<Json> ReadResponseInput(const JsonFields& fields);

// The same of a list of items that stands at `path`.
absl::StatusOr<Json> MessagesOfItems(const Json& items, const std::string& path);

// `input` as a list of items, each with an id (of `key`, which is part of no other's) and a status, as OpenAI lists
// them. REQUIRES: ReadResponseInput reads it.
Json InputItems(const Json& input, const std::string& key);

std::string ItemId(const std::string& key, size_t index);

// The list as text, without the brackets around it.
std::string ElementsText(const Json& list);

}  // namespace quire
