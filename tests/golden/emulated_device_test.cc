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

TEST(EmulatedDevice, ContinuesAsTheReferenceDoesWhileThatIsSure) {
  const RealModel model(MakeCudaOps().value());
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
    ASSERT_EQ(streams[i].tokens.size(), size_t{kNewTokens}) << prompts[i].name;
    for (int step = 0; step < kNewTokens && prompts[i].margins[step] > kSureMargin; ++step) {
      ++num_compared;
      ASSERT_EQ(streams[i].tokens[step], prompts[i].greedy[step]) << prompts[i].name << ", step " << step;
    }
  }
  EXPECT_GE(num_compared, 20);
}

}  // namespace
}  // namespace quire
