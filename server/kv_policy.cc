#include "server/kv_policy.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace quire {
namespace {

// With every stride the sinks are computed anew, and its tokens are missed at first: an eighth of the window costs
// little of either.
constexpr int kStridesPerWindow = 8;

int RoundDown(int tokens, int block_size) { return tokens / block_size * block_size; }
int RoundUp(int tokens, int block_size) { return RoundDown(tokens + block_size - 1, block_size); }
int StrideOf(int window_tokens, int block_size) {
  return std::max(block_size, RoundDown(window_tokens / kStridesPerWindow, block_size));
}

// Always keeps all that the next token sees.
KvWindow WindowOf(const ModelConfig& config, int block_size) {
  const int window = RoundUp(config.sliding_window, block_size);
  const int stride = StrideOf(window, block_size);
  if (window + stride >= config.context_length) return {};
  return {.sink_tokens = 0, .recent_tokens = window + stride, .stride_tokens = stride};
}

absl::Status CheckSinkWindow(const KvPolicyOptions& options, const ModelConfig& config, int block_size, int sinks) {
  if (config.sliding_window > 0) {
    return absl::InvalidArgumentError(absl::StrCat("--kv-policy must be full: the model has a sliding window of ",
                                                   config.sliding_window, " tokens of its own"));
  }
  for (const auto& [flag, tokens] : {std::pair("--kv-sink-tokens", sinks), {"--kv-window-tokens", options.window_tokens}}) {
    if (tokens % block_size == 0) continue;
    return absl::InvalidArgumentError(
        absl::StrCat(flag, " must be a multiple of --block-size (", block_size, "), got ", tokens));
  }
  const int most = RoundDown(config.context_length, block_size);
  if (sinks + std::max(options.window_tokens, block_size) > most) {
    return absl::InvalidArgumentError(absl::StrCat("--kv-sink-tokens and --kv-window-tokens must be at most ", most,
                                                   " together, the model's own length, got ", sinks, " and ",
                                                   options.window_tokens));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<KvWindow> MakeKvWindow(const KvPolicyOptions& options, const ModelConfig& config, int block_size) {
  if (!options.sink_window) return config.sliding_window > 0 ? WindowOf(config, block_size) : KvWindow();
  const int sinks = options.sink_tokens < 0 ? block_size : options.sink_tokens;
  if (absl::Status status = CheckSinkWindow(options, config, block_size, sinks); !status.ok()) return status;
  const int window =
      options.window_tokens > 0 ? options.window_tokens : RoundDown(config.context_length, block_size) - sinks;
  return KvWindow{.sink_tokens = sinks, .recent_tokens = window, .stride_tokens = StrideOf(window, block_size)};
}

}  // namespace quire
