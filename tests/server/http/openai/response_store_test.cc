#include "server/http/openai/response_store.h"

#include <gtest/gtest.h>

#include <string>

namespace quire {
namespace {

TEST(ResponseStore, KeepsAndForgets) {
  ResponseStore store(1 << 20);
  store.Add("a", {"{}", "[]"});
  ASSERT_NE(store.Find("a"), nullptr);
  EXPECT_EQ(store.Find("a")->response, "{}");
  EXPECT_EQ(store.Find("b"), nullptr);
  EXPECT_TRUE(store.Remove("a"));
  EXPECT_FALSE(store.Remove("a"));
  EXPECT_EQ(store.Find("a"), nullptr);
}

TEST(ResponseStore, KeepsTenantsApart) {
  ResponseStore store(1 << 20);
  store.Add(ResponseKey("owls", "a"), {"{}", "[]"});
  EXPECT_NE(store.Find(ResponseKey("owls", "a")), nullptr);
  EXPECT_EQ(store.Find(ResponseKey("foxes", "a")), nullptr);
}

TEST(ResponseStore, MakesRoomByWhatWasUsedLeastLately) {
  ResponseStore store(4 * 1000);
  const std::string text(400, 'x');  // Three entries have room, and not four.
  for (const char* id : {"a", "b", "c"}) store.Add(id, {text, ""});
  EXPECT_NE(store.Find("a"), nullptr);
  store.Add("d", {text, ""});
  store.Add("e", {text, ""});
  EXPECT_EQ(store.Find("b"), nullptr);
  EXPECT_NE(store.Find("a"), nullptr);
  store.Add("a", {"", text});
  EXPECT_EQ(store.Find("a")->items, text);
  store.Add("huge", {std::string(5'000, 'x'), ""});
  EXPECT_EQ(store.Find("huge"), nullptr);
  EXPECT_NE(store.Find("e"), nullptr);
}

}  // namespace
}  // namespace quire
