#include "server/kv_policy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace quire {
namespace {

using ::testing::HasSubstr;

ModelConfig Model(int context_length, int sliding_window = 0) {
  ModelConfig config;
  config.context_length = context_length;
  config.sliding_window = sliding_window;
  return config;
}

std::string ErrorOf(const KvPolicyOptions& options, const ModelConfig& config = Model(2048)) {
  return std::string(MakeKvWindow(options, config, 32).status().message());
}

TEST(KvPolicy, KeepsEverythingUnlessToldOtherwise) {
  EXPECT_FALSE(MakeKvWindow({}, Model(2048), 32)->bounded());
}

TEST(KvPolicy, TakesAsMuchAsTheModelWasTrainedFor) {
  const KvWindow window = *MakeKvWindow({.sink_window = true}, Model(2050), 32);
  EXPECT_EQ(window.sink_tokens, 32);
  EXPECT_EQ(window.recent_tokens, 2048 - 32);
  EXPECT_EQ(window.stride_tokens, 224);
}

TEST(KvPolicy, TakesWhatItIsGiven) {
  const KvWindow window =
      *MakeKvWindow({.sink_window = true, .sink_tokens = 0, .window_tokens = 64}, Model(2048), 32);
  EXPECT_EQ(window.capacity(), 64);
  EXPECT_EQ(window.stride_tokens, 32);
}

TEST(KvPolicy, NamesTheFlagThatIsWrong) {
  EXPECT_THAT(ErrorOf({.sink_window = true, .sink_tokens = 5}), HasSubstr("--kv-sink-tokens must be a multiple of"));
  EXPECT_THAT(ErrorOf({.sink_window = true, .window_tokens = 100}), HasSubstr("--kv-window-tokens"));
  EXPECT_THAT(ErrorOf({.sink_window = true, .window_tokens = 2048}), HasSubstr("at most 2048 together"));
  EXPECT_THAT(ErrorOf({.sink_window = true}, Model(2048, 512)), HasSubstr("--kv-policy must be full"));
}

TEST(KvPolicy, DropsWhatAModelsOwnWindowNeverReaches) {
  const KvWindow window = *MakeKvWindow({}, Model(32768, 4000), 32);
  EXPECT_EQ(window.sink_tokens, 0);
  // The last token before a stride is dropped, and the first one after, still see 4,000 tokens.
  for (int position : {window.capacity() - 1, window.capacity()}) {
    EXPECT_GE(position + 1 - window.NumDropped(position), 4000);
  }
  EXPECT_LT(window.capacity(), 5000);
  EXPECT_FALSE(MakeKvWindow({}, Model(4096, 4000), 32)->bounded());
}

}  // namespace
}  // namespace quire
