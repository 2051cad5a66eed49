#include "engine/scheduler/kv_window.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace quire {
namespace {

using ::testing::HasSubstr;

constexpr KvWindow kWindow{.sink_tokens = 4, .recent_tokens = 12, .stride_tokens = 8};

TEST(KvWindow, KeepsEverythingWhileItFits) {
  for (int position = 0; position < 16; ++position) EXPECT_EQ(kWindow.NumDropped(position), 0);
  EXPECT_EQ(kWindow.EndOfStretch(0), 16);
  EXPECT_EQ(kWindow.EndOfStretch(15), 16);
}

TEST(KvWindow, DropsAStrideAtATime) {
  EXPECT_EQ(kWindow.NumDropped(16), 8);
  EXPECT_EQ(kWindow.NumDropped(23), 8);
  EXPECT_EQ(kWindow.EndOfStretch(16), 24);
  EXPECT_EQ(kWindow.NumDropped(24), 16);
  EXPECT_EQ(kWindow.NumDropped(16 + 8 * 1000), 8 * 1001);
}

TEST(KvWindow, AlwaysFitsItsCapacity) {
  for (int position = 0; position < 200; ++position) {
    EXPECT_LT(position - kWindow.NumDropped(position), kWindow.capacity());
    EXPECT_EQ(kWindow.NumDropped(kWindow.EndOfStretch(position) - 1), kWindow.NumDropped(position));
    EXPECT_GT(kWindow.NumDropped(kWindow.EndOfStretch(position)), kWindow.NumDropped(position));
  }
}

TEST(KvWindow, MustConsistOfWholePages) {
  EXPECT_TRUE(Validate(KvWindow(), 4).ok());
  EXPECT_TRUE(Validate(kWindow, 4).ok());
  EXPECT_THAT(std::string(Validate({2, 12, 8}, 4).message()), HasSubstr("sink_tokens must be a multiple of 4"));
  EXPECT_THAT(std::string(Validate({4, 13, 8}, 4).message()), HasSubstr("recent_tokens"));
  EXPECT_THAT(std::string(Validate({4, 12, 0}, 4).message()), HasSubstr("stride_tokens"));
  EXPECT_THAT(std::string(Validate({4, 12, 16}, 4).message()), HasSubstr("[4, 12], got 16"));
}

}  // namespace
}  // namespace quire
