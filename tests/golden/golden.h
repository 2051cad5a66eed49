// What the reference made of the model: tests/reference/golden.json, written and described by make_golden.py.
#pragma once

#include <string>
#include <vector>

#include "block_manager/ids.h"

namespace quire {

// How far the reference's likeliest token must lead the second, in nats, for the choice to count as sure.
inline constexpr double kSureMargin = 0.3;

struct GoldenTop {
  int step = 0;
  std::vector<TokenId> token_ids;
  std::vector<double> logprobs;
};

// greedy[i] and margins[i] belong to the i-th token after the prompt.
struct GoldenPrompt {
  std::string name;
  std::vector<TokenId> token_ids;
  std::vector<TokenId> greedy;
  std::vector<double> margins;
  std::vector<GoldenTop> top;
};

// greedy[i] and margins[i] belong to the token after token_ids[0..i].
struct GoldenPassage {
  std::vector<TokenId> token_ids;
  std::vector<TokenId> greedy;
  std::vector<double> margins;
  double mean_nll = 0;
};

struct Golden {
  std::vector<GoldenPrompt> prompts;
  GoldenPassage passage;
};

// Read once.
const Golden& GetGolden();

}  // namespace quire
