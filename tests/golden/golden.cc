#include "tests/golden/golden.h"

#include <fstream>
#include <nlohmann/json.hpp>

namespace quire {

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(GoldenTop, step, token_ids, logprobs)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(GoldenPrompt, name, token_ids, greedy, margins, top)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(GoldenPassage, token_ids, greedy, margins, mean_nll)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Golden, prompts, passage)

const Golden& GetGolden() {
  static const Golden& golden = *new Golden(nlohmann::json::parse(std::ifstream(QUIRE_GOLDEN_JSON)).get<Golden>());
  return golden;
}

}  // namespace quire
