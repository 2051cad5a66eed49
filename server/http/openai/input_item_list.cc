#include "server/http/openai/input_item_list.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "engine/types/status_macros.h"
#include "server/http/openai/response_request.h"
#include "server/http/url.h"
#include "server/status_details.h"

namespace quire {
namespace {

constexpr int kMaxLimit = 100;

}  // namespace

absl::StatusOr<InputItemsQuery> ParseInputItemsQuery(const std::string& query) {
  InputItemsQuery parsed;
  std::vector<std::string> include;
  for (auto& [name, value] : SplitQuery(query)) {
    if (name == "limit") {
      if (!absl::SimpleAtoi(value, &parsed.limit) || parsed.limit < 1 || parsed.limit > kMaxLimit) {
        return InvalidField("limit", absl::StrCat("must be an integer in [1, ", kMaxLimit, "], got \"", value, "\""));
      }
    } else if (name == "order") {
      if (value != "asc" && value != "desc") {
        return InvalidField("order", absl::StrCat("must be \"asc\" or \"desc\", got \"", value, "\""));
      }
      parsed.newest_first = value == "desc";
    } else if (name == "after") {
      parsed.after = value;
    } else if (name == "include" || name == "include[]") {
      include.push_back(value);
    }
  }
  bool logprobs = false;  // Input has none.
  RETURN_IF_ERROR(ReadInclude(include, "include", logprobs));
  return parsed;
}

absl::StatusOr<Json> ListInputItems(Json items, const InputItemsQuery& query) {
  if (query.newest_first) std::reverse(items.begin(), items.end());
  auto begin = items.begin();
  if (!query.after.empty()) {
    begin = std::find_if(items.begin(), items.end(), [&](const Json& item) { return item["id"] == query.after; });
    if (begin == items.end()) return InvalidField("after", "must be the id of one of the response's input items");
    ++begin;
  }
  const auto end = begin + std::min<ptrdiff_t>(query.limit, items.end() - begin);
  Json page = Json::array();
  for (auto item = begin; item != end; ++item) page.push_back(std::move(*item));
  const Json none;
  return Json({{"object", "list"},
               {"data", page},
               {"first_id", page.empty() ? none : page.front()["id"]},
               {"last_id", page.empty() ? none : page.back()["id"]},
               {"has_more", end != items.end()}});
}

}  // namespace quire
