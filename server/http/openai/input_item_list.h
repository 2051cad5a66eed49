// GET /v1/responses/ID/input_items: what a response answered, in pages.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "server/http/json.h"

namespace quire {

struct InputItemsQuery {
  int limit = 20;
  bool newest_first = true;
  std::string after;  // The id of the item that the page begins behind; empty: it begins with the first.
};

// INVALID_ARGUMENT names the field at fault: limit, order, include. Unknown fields are ignored.
absl::StatusOr<InputItemsQuery> ParseInputItemsQuery(const std::string& query);

// The page of `items`, which are given oldest first, as {"object": "list", "data", "first_id", "last_id", "has_more"}.
// INVALID_ARGUMENT if none of them is `after`.
absl::StatusOr<Json> ListInputItems(Json items, const InputItemsQuery& query);

}  // namespace quire
