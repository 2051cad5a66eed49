// How well the model foretells a text: the quality that a KV cache's dtype costs, where nothing else differs.
#pragma once

#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "server/backend.h"
#include "server/bench/offline_bench.h"

namespace quire {

// Over all tokens of the windows but the first of each.
struct Perplexity {
  int window_tokens = 0;
  int num_windows = 0;
  int num_tokens = 0;   // Scored.
  double mean_nll = 0;  // Nats a token.
  double perplexity = 0;
  double tail_perplexity = 0;  // Of the last quarter of each window's tokens: how it goes on, far from the beginning.
};

// Cuts the text into windows of `window_tokens`, which do not overlap, drops what is left, and reads each window as a
// prompt of its own, with nothing cached. One result for each length, at least 2. INVALID_ARGUMENT for a text that is
// shorter than a window or no UTF-8, and for windows that are longer than the model or the page pool allow.
absl::StatusOr<std::vector<Perplexity>> MeasurePerplexity(Backend& backend, std::string_view text,
                                                          const std::vector<int>& window_lengths,
                                                          const BenchProgress& progress);

}  // namespace quire
