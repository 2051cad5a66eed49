#include "server/request_origin.h"

#include <gtest/gtest.h>

namespace quire {
namespace {

constexpr char kTrace[] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

TEST(RequestOrigin, KeepsTheIdsThatAClientSends) {
  const RequestOrigin origin = MakeOrigin(Protocol::kQuire, "order-17/a", kTrace);
  EXPECT_EQ(origin.request_id, "order-17/a");
  EXPECT_EQ(origin.traceparent, kTrace);
}

TEST(RequestOrigin, MakesAnIdWhereNoneCanBeUsed) {
  for (const std::string& id : {std::string(), std::string(129, 'x'), std::string("two words"),
                                std::string("new\nline"), std::string("gr\xC3\xBC\xC3\x9F")}) {
    const std::string made = MakeOrigin(Protocol::kQuire, id, "").request_id;
    EXPECT_EQ(made.size(), 32u) << made;
    EXPECT_NE(made, MakeOrigin(Protocol::kQuire, id, "").request_id);
  }
  EXPECT_EQ(MakeOrigin(Protocol::kQuire, std::string(128, 'x'), "").request_id.size(), 128u);
}

TEST(RequestOrigin, TakesATraceparentAsItsStandardHasIt) {
  EXPECT_TRUE(IsTraceparent(kTrace));
  EXPECT_TRUE(IsTraceparent("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what-the-future-brings"));
  for (const char* bad : {
           "",
           "00",
           "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0",
           "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
           "00-00000000000000000000000000000000-b7ad6b7169203331-01",
           "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
           "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
           "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
           "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01more",
           "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more \n",
           "00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
           "00-0af7651916cd43dd8448eb211c80319g-b7ad6b7169203331-01",
       }) {
    EXPECT_FALSE(IsTraceparent(bad)) << bad;
    EXPECT_EQ(MakeOrigin(Protocol::kQuire, "", bad).traceparent, "");
  }
}

}  // namespace
}  // namespace quire
