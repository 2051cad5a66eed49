#include "server/grpc/vllm/request_names.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace quire {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(RequestNames, FindAllThatRunUnderAName) {
  RequestNames names;
  const auto first = std::make_shared<RequestContext>(), second = std::make_shared<RequestContext>();
  const auto other = std::make_shared<RequestContext>();
  names.Add("a", first);
  names.Add("a", second);
  names.Add("b", other);
  EXPECT_THAT(names.Find("a"), ElementsAre(first, second));
  EXPECT_THAT(names.Find("c"), IsEmpty());
}

TEST(RequestNames, DoNotKeepARequestAlive) {
  RequestNames names;
  auto request = std::make_shared<RequestContext>();
  names.Add("a", request);
  request.reset();
  EXPECT_THAT(names.Find("a"), IsEmpty());
}

TEST(RequestNames, OutliveThousandsOfOthers) {
  RequestNames names;
  const auto stays = std::make_shared<RequestContext>();
  names.Add("stays", stays);
  for (int i = 0; i < 10'000; ++i) names.Add(std::to_string(i), std::make_shared<RequestContext>());
  EXPECT_THAT(names.Find("stays"), ElementsAre(stays));
}

}  // namespace
}  // namespace quire
