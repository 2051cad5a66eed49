// What a step asks of a row of logits when a token is to be chosen from it on the device, in terms that kernels may
// know: no requests, no sequences, no streams of random numbers. engine/sampling makes these from a request's
// parameters and is the definition of what they mean; here is their arithmetic.
#pragma once

#include <cstdint>
#include <span>

namespace quire {

// What is done to the logit x of one token before anything is chosen, in float32, each operation rounded on its own:
//   x += bias
//   forbidden: x = -infinity
//   seen:      x = x > 0 ? x / repetition_penalty : x * repetition_penalty
//              x -= frequency_penalty * output_count
//              x -= presence_penalty, where output_count > 0
struct TokenAdjustment {
  int32_t token = 0;
  float bias = 0;
  int32_t output_count = 0;  // How often the output has it already.
  bool seen = false;         // Penalties look at it: it occurs in the output or, for repetition, in the prompt.
  bool forbidden = false;
};

// The order is adjustments, temperature, min_p, top_k, top_p, draw. Between equal logits the lower id counts as the
// likelier one. A token whose logit is -infinity after the adjustments is never chosen.
struct SampleRow {
  int32_t logits_row = 0;  // Whose logits; several rows may choose from the same ones.
  float temperature = 1;   // 0: the likeliest token; no filter, no draw.
  float top_p = 1;         // Of what is left, the fewest tokens, likeliest first, whose probability reaches it.
  float min_p = 0;         // Tokens at least this many times as likely as the likeliest.
  int32_t top_k = 0;       // Of these, the k likeliest; 0: all.
  float repetition_penalty = 1;
  float presence_penalty = 0;
  float frequency_penalty = 0;
  double uniform = 0.5;                               // The draw, in (0, 1).
  std::span<const TokenAdjustment> adjustments = {};  // At most one for a token, in any order.
  std::span<const uint32_t> allowed = {};  // Bit t % 32 of word t / 32: token t is not forbidden. Empty: none is.
};

// Where an embedding asks for a token id: the token that was chosen for this row of the step before, which the host need
// not know yet.
constexpr int32_t ChosenForRow(int row) { return ~row; }

struct SampledRow {
  int32_t token = 0;
  float logprob = 0;  // Of the token, under the log-softmax of the logits before any adjustment.
  // False where a logit is NaN or infinite, or where the adjustments leave nothing to choose; then the others are 0.
  bool ok = false;
};

}  // namespace quire
