#include "server/bench/perplexity.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "engine/engine.h"
#include "engine/types/status_macros.h"

namespace quire {
namespace {

// -log p of the window's tokens but its first.
absl::StatusOr<std::vector<double>> Score(Engine& engine, std::span<const TokenId> window) {
  GenerateRequest request;
  request.prompt.assign(window.begin(), window.end());
  request.sampling = {.temperature = 0, .max_tokens = 1, .prompt_logprobs = 0};
  RETURN_IF_ERROR(engine.Submit(std::move(request), absl::Now()));
  std::vector<double> nll;
  while (engine.HasWork()) {
    for (const SequenceOutput& output : engine.Step(absl::Now()).outputs) {
      RETURN_IF_ERROR(output.status);
      for (const TokenLogprob& score : output.prompt_logprobs) nll.push_back(-score.logprob);
    }
  }
  return nll;
}

absl::Status CheckWindow(const Backend& backend, int window_tokens, size_t text_tokens) {
  if (window_tokens < 2) return absl::InvalidArgumentError("--input-len must be at least 2 for --perplexity");
  // One more than a window, since a request makes at least one token.
  if (window_tokens >= backend.engine_options.max_model_len) {
    return absl::InvalidArgumentError(absl::StrCat("--input-len must be below ", backend.engine_options.max_model_len,
                                                   ", the longest sequence, got ", window_tokens));
  }
  if (text_tokens < static_cast<size_t>(window_tokens)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--perplexity: the text has ", text_tokens, " tokens, fewer than --input-len ", window_tokens));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<Perplexity>> MeasurePerplexity(Backend& backend, std::string_view text,
                                                          const std::vector<int>& window_lengths,
                                                          const BenchProgress& progress) {
  ASSIGN_OR_RETURN(const std::vector<TokenId> tokens, backend.model.tokenizer->Encode(text, {}));
  for (const int length : window_lengths) RETURN_IF_ERROR(CheckWindow(backend, length, tokens.size()));
  EngineOptions options = backend.engine_options;
  options.blocks.enable_prefix_caching = false;
  Engine engine(options, *backend.runner);
  std::vector<Perplexity> results;
  for (const int length : window_lengths) {
    Perplexity& result = results.emplace_back();
    result.window_tokens = length;
    result.num_windows = static_cast<int>(tokens.size()) / length;
    result.num_tokens = result.num_windows * (length - 1);
    const int num_in_tail = (length + 3) / 4;
    double nll = 0, tail_nll = 0;
    for (int i = 0; i < result.num_windows; ++i) {
      ASSIGN_OR_RETURN(const auto scores, Score(engine, std::span(tokens).subspan(i * length, length)));
      nll = std::accumulate(scores.begin(), scores.end(), nll);
      tail_nll = std::accumulate(scores.end() - std::min<int>(num_in_tail, length - 1), scores.end(), tail_nll);
      const auto done = static_cast<float>(results.size() - 1) + static_cast<float>(i + 1) / result.num_windows;
      if (progress) progress(done / static_cast<float>(window_lengths.size()));
    }
    result.mean_nll = nll / result.num_tokens;
    result.perplexity = std::exp(result.mean_nll);
    result.tail_perplexity = std::exp(tail_nll / (result.num_windows * std::min(num_in_tail, length - 1)));
  }
  return results;
}

}  // namespace quire
