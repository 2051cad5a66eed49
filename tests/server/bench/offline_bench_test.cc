#include "server/bench/offline_bench.h"

#include <gtest/gtest.h>

#include "tests/server/bench/tiny_backend.h"

namespace quire {
namespace {

OfflineBenchOptions SmallRun(bool steady_decode) {
  OfflineBenchOptions options;
  options.batch_sizes = {1, 3};
  options.input_lengths = {5, 20};
  options.output_tokens = 4;
  options.steady_decode = steady_decode;
  return options;
}

class OfflineBench : public testing::TestWithParam<bool> {};

TEST_P(OfflineBench, MeasuresEachPromptLengthAtEachBatchSize) {
  const auto backend = MakeTinyBackend();
  float last_progress = -1;
  const auto results = RunOfflineBench(*backend, SmallRun(GetParam()), [&](float done) {
    EXPECT_GT(done, last_progress);
    last_progress = done;
  });
  ASSERT_TRUE(results.ok()) << results.status();
  EXPECT_EQ(last_progress, 1.0f);
  std::vector<std::pair<int, int>> points;
  for (const BatchThroughput& result : *results) {
    points.emplace_back(result.input_tokens, result.batch_size);
    EXPECT_EQ(result.output_tokens, 4);
    EXPECT_GT(result.prefill_tokens_per_second, 0);
  }
  EXPECT_EQ(points, (std::vector<std::pair<int, int>>{{5, 1}, {5, 3}, {20, 1}, {20, 3}}));
}

INSTANTIATE_TEST_SUITE_P(Decode, OfflineBench, testing::Bool());

TEST(OfflineBench, SteadyDecodeIsARateOfThisRunAlone) {
  const auto backend = MakeTinyBackend();
  const auto results = RunOfflineBench(*backend, SmallRun(true), {});
  ASSERT_TRUE(results.ok()) << results.status();
  for (const BatchThroughput& result : *results) {
    EXPECT_GT(result.decode_tokens_per_second, 0);
  }
}

TEST(OfflineBench, SaysWhenTheModelIsTooShortForASteadyRun) {
  const auto backend = MakeTinyBackend();
  OfflineBenchOptions options = SmallRun(true);
  options.output_tokens = backend->engine_options.max_model_len;
  const auto results = RunOfflineBench(*backend, options, {});
  EXPECT_EQ(results.status().code(), absl::StatusCode::kOutOfRange) << results.status();
}

}  // namespace
}  // namespace quire
