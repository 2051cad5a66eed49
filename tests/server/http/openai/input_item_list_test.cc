#include "server/http/openai/input_item_list.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "server/status_details.h"

namespace quire {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

Json Items() { return Json::parse(R"([{"id": "a"}, {"id": "b"}, {"id": "c"}])"); }

std::vector<std::string> Ids(const std::string& query, bool has_more) {
  const auto list = ListInputItems(Items(), ParseInputItemsQuery(query).value());
  EXPECT_TRUE(list.ok()) << list.status();
  std::vector<std::string> ids;
  if (!list.ok()) return ids;
  EXPECT_EQ((*list)["object"], "list");
  EXPECT_EQ((*list)["has_more"], has_more);
  for (const Json& item : (*list)["data"]) ids.push_back(item["id"]);
  EXPECT_EQ((*list)["first_id"], ids.empty() ? Json() : Json(ids.front()));
  EXPECT_EQ((*list)["last_id"], ids.empty() ? Json() : Json(ids.back()));
  return ids;
}

TEST(ListInputItems, GivesPagesInEitherOrder) {
  EXPECT_THAT(Ids("", false), ElementsAre("c", "b", "a"));
  EXPECT_THAT(Ids("order=asc&limit=2", true), ElementsAre("a", "b"));
  EXPECT_THAT(Ids("order=asc&limit=2&after=b", false), ElementsAre("c"));
  EXPECT_THAT(Ids("order=desc&limit=1&after=c", true), ElementsAre("b"));
  EXPECT_THAT(Ids("after=a", false), IsEmpty());
  EXPECT_EQ(FieldOf(ListInputItems(Items(), ParseInputItemsQuery("after=d").value()).status()), "after");
}

TEST(ParseInputItemsQuery, NamesTheFieldAtFault) {
  for (const auto& [query, field] :
       std::vector<std::pair<std::string, std::string>>{{"limit=0", "limit"},
                                                        {"limit=101", "limit"},
                                                        {"limit=x", "limit"},
                                                        {"limit=99999999999999999999", "limit"},
                                                        {"order=up", "order"},
                                                        {"include[]=x", "include[0]"},
                                                        {"include=x", "include[0]"}}) {
    EXPECT_EQ(FieldOf(ParseInputItemsQuery(query).status()), field) << query;
  }
  EXPECT_TRUE(ParseInputItemsQuery("include%5B%5D=message.input_image.image_url&limit=100&before=x").ok());
}

}  // namespace
}  // namespace quire
