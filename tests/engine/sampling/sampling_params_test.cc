#include "engine/sampling/sampling_params.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

namespace quire {
namespace {

using ::testing::HasSubstr;

constexpr int kVocabSize = 100;
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

absl::Status Check(const std::function<void(SamplingParams&)>& change) {
  SamplingParams params;
  change(params);
  return Validate(params, kVocabSize);
}

TEST(SamplingParams, AcceptsTheDefaultsAndTheEndsOfEveryRange) {
  EXPECT_TRUE(Check([](SamplingParams&) {}).ok());
  EXPECT_TRUE(Check([](SamplingParams& p) {
                p.temperature = 0;
                p.top_p = 1e-6f;
                p.top_k = std::numeric_limits<int>::max();
                p.min_p = 1;
                p.repetition_penalty = 10;
                p.presence_penalty = -2;
                p.frequency_penalty = 2;
                p.max_tokens = 5;
                p.min_tokens = 5;
                p.stop.assign(16, std::string(1024, 'x'));
                p.stop_token_ids.assign(256, kVocabSize - 1);
                p.n = 64;
                p.logit_bias = {{0, -100.0f}, {kVocabSize - 1, 100.0f}};
                p.logprobs = 20;
                p.prompt_logprobs = 0;
              }).ok());
  EXPECT_TRUE(Check([](SamplingParams& p) {
                p.temperature = 100;
                p.min_tokens = 7;  // max_tokens is open.
              }).ok());
}

struct Mistake {
  std::string message;
  std::function<void(SamplingParams&)> change;
};

TEST(SamplingParams, NamesTheFieldTheRangeAndTheValue) {
  const std::vector<Mistake> mistakes = {
      {"sampling_params.temperature must be in [0, 100], got -0.5", [](auto& p) { p.temperature = -0.5f; }},
      {"sampling_params.temperature must be in [0, 100], got 101", [](auto& p) { p.temperature = 101; }},
      {"sampling_params.top_p must be in (0, 1], got 1.5", [](auto& p) { p.top_p = 1.5f; }},
      {"sampling_params.top_p must be in (0, 1], got 0", [](auto& p) { p.top_p = 0; }},
      {"sampling_params.top_k must be at least 0, got -1", [](auto& p) { p.top_k = -1; }},
      {"sampling_params.min_p must be in [0, 1], got 1.25", [](auto& p) { p.min_p = 1.25f; }},
      {"sampling_params.repetition_penalty must be in (0, 10], got 0", [](auto& p) { p.repetition_penalty = 0; }},
      {"sampling_params.presence_penalty must be in [-2, 2], got 3", [](auto& p) { p.presence_penalty = 3; }},
      {"sampling_params.frequency_penalty must be in [-2, 2], got -3", [](auto& p) { p.frequency_penalty = -3; }},
      {"sampling_params.max_tokens must be at least 0, got -1", [](auto& p) { p.max_tokens = -1; }},
      {"sampling_params.min_tokens must be at least 0, got -2", [](auto& p) { p.min_tokens = -2; }},
      {"sampling_params.min_tokens must be at most max_tokens (3), got 4",
       [](auto& p) {
         p.max_tokens = 3;
         p.min_tokens = 4;
       }},
      {"sampling_params.stop must be at most 16 entries, got 17", [](auto& p) { p.stop.assign(17, "x"); }},
      {"sampling_params.stop[1] must be a string that is not empty, got \"\"",
       [](auto& p) {
         p.stop = {"x", ""};
       }},
      {"sampling_params.stop[0] must be at most 1024 bytes long, got 1025",
       [](auto& p) { p.stop = {std::string(1025, 'x')}; }},
      {"sampling_params.stop_token_ids must be at most 256 entries, got 257",
       [](auto& p) { p.stop_token_ids.assign(257, 1); }},
      {"sampling_params.stop_token_ids[1] must be a token id in [0, 100), got 100",
       [](auto& p) {
         p.stop_token_ids = {1, 100};
       }},
      {"sampling_params.stop_token_ids[0] must be a token id in [0, 100), got -1",
       [](auto& p) { p.stop_token_ids = {-1}; }},
      {"sampling_params.n must be in [1, 64], got 0", [](auto& p) { p.n = 0; }},
      {"sampling_params.n must be in [1, 64], got 65", [](auto& p) { p.n = 65; }},
      {"sampling_params.logit_bias must be at most 1024 entries, got 1025",
       [](auto& p) {
         p.logit_bias.assign(1025, {1, 0.0f});
       }},
      {"sampling_params.logit_bias key must be a token id in [0, 100), got 2147483647",
       [](auto& p) {
         p.logit_bias = {{2147483647, 1.0f}};
       }},
      {"sampling_params.logit_bias[7] must be in [-100, 100], got 101",
       [](auto& p) {
         p.logit_bias = {{7, 101.0f}};
       }},
      {"sampling_params.logprobs must be in [-1, 20], got 21", [](auto& p) { p.logprobs = 21; }},
      {"sampling_params.prompt_logprobs must be in [-1, 20], got -2", [](auto& p) { p.prompt_logprobs = -2; }},
  };
  for (const Mistake& mistake : mistakes) {
    const absl::Status status = Check(mistake.change);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << mistake.message;
    EXPECT_EQ(std::string(status.message()), mistake.message);
  }
}

TEST(SamplingParams, RefusesWhatIsNotANumber) {
  const std::vector<std::pair<std::string, float SamplingParams::*>> fields = {
      {"temperature", &SamplingParams::temperature},
      {"top_p", &SamplingParams::top_p},
      {"min_p", &SamplingParams::min_p},
      {"repetition_penalty", &SamplingParams::repetition_penalty},
      {"presence_penalty", &SamplingParams::presence_penalty},
      {"frequency_penalty", &SamplingParams::frequency_penalty},
  };
  for (const auto& [name, field] : fields) {
    for (float value : {kNan, kInfinity, -kInfinity}) {
      const absl::Status status = Check([&](SamplingParams& p) { p.*field = value; });
      EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << name << " = " << value;
      EXPECT_THAT(std::string(status.message()), HasSubstr("sampling_params." + name + " must be"));
    }
  }
  for (float value : {kNan, kInfinity, -kInfinity}) {
    EXPECT_FALSE(Check([&](SamplingParams& p) { p.logit_bias = {{1, value}}; }).ok()) << value;
  }
}

}  // namespace
}  // namespace quire
