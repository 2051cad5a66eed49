// Conversations between people and assistants: from a file in ShareGPT's format, or random ones of about the lengths
// that such files have.
#pragma once

#include <istream>
#include <random>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace quire {

// A person's words and the answer that they got.
struct ShareGptTurn {
  std::string prompt;
  int answer_tokens = 0;
};

// Reads [{"conversations": [{"from": "human", "value": "..."}, {"from": "gpt", "value": "..."}, ...]}, ...], one
// conversation at a time, so that files larger than memory are no trouble. Tokens are estimated as a quarter of the
// bytes. Left out are conversations that do not begin with a person, and, as other load generators do it, those whose
// first turn is trivial or very long (under 4 tokens of either kind, prompts over 1,024, both together over 2,048).
// At most `max_turns` of each conversation, up to the first very long one. INVALID_ARGUMENT for what is no such file.
absl::StatusOr<std::vector<std::vector<ShareGptTurn>>> ReadShareGpt(std::istream& file, int max_turns);

// Tokens of a prompt and its answer, log-normal with the means that vLLM's paper (SOSP 2023) gives for ShareGPT, 161
// and 338, within the limits above.
struct TurnLengths {
  int prompt_tokens = 0;
  int answer_tokens = 0;
};
TurnLengths DrawShareGptLengths(std::mt19937_64& random);

}  // namespace quire
