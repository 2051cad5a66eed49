// The real model by the CUDA backend on an emulated device, as far as there is time for: every shape of the model meets
// every kernel once, in a step with many tokens and in steps with one.
#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "kernels/cuda/cuda_ops.h"
#include "tests/golden/golden.h"
#include "tests/golden/real_model.h"

namespace quire {
namespace {

constexpr int kNewTokens = 6;
// As kSureMargin, for layers in float8: rounding weights and activations to 4 significant bits tips closer choices.
constexpr double kFloat8SureMargin = 0.5;

// Compares choices for which the reference has more than `margin`, and returns how many that were.
int Compare(WeightPrecision precision, double margin) {
  const RealModel model(MakeCudaOps().value(), precision);
  std::vector<GoldenPrompt> prompts;
  std::vector<GenerateRequest> requests;
  for (const GoldenPrompt& prompt : GetGolden().prompts) {
    if (prompt.token_ids.size() > 8) continue;
    prompts.push_back(prompt);
    GenerateRequest& request = requests.emplace_back();
    request.prompt = prompt.token_ids;
    request.sampling = {.temperature = 0, .max_tokens = kNewTokens, .ignore_eos = true};
  }
  const std::vector<Stream> streams = RealEngine(model, {.num_blocks = 16}).Run(std::move(requests));
  int num_compared = 0;
  for (size_t i = 0; i < prompts.size(); ++i) {
    EXPECT_EQ(streams[i].tokens.size(), size_t{kNewTokens}) << prompts[i].name;
    for (int step = 0; step < kNewTokens && prompts[i].margins[step] > margin; ++step) {
      ++num_compared;
      EXPECT_EQ(streams[i].tokens[step], prompts[i].greedy[step]) << prompts[i].name << ", step " << step;
    }
  }
  return num_compared;
}

TEST(EmulatedDevice, ContinuesAsTheReferenceDoesWhileThatIsSure) {
  EXPECT_GE(Compare(WeightPrecision::kAsStored, kSureMargin), 20);
}

TEST(EmulatedDevice, ContinuesInFloat8AsTheReferenceDoesWhileThatIsSurer) {
  EXPECT_GE(Compare(WeightPrecision::kFloat8, kFloat8SureMargin), 15);
}

}  // namespace
}  // namespace quire
