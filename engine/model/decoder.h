// Decoder: the forward pass, the only one there is. Which architecture it computes is in the ModelConfig and the
// Weights.
#pragma once

#include <functional>
#include <memory>
#include <span>

#include "absl/status/statusor.h"
#include "engine/model/model_config.h"
#include "engine/model/weights.h"
#include "engine/runner/batch.h"
#include "kernels/ops.h"

namespace quire {

// Owns the activations of one step. Threads: the engine's, which is the one that calls into Ops.
class Decoder {
 public:
  // Rows that one call of Logits takes at most. Their logits are the largest activation (rows x vocabulary), and a step
  // may ask for those of all its tokens.
  static constexpr int kMaxLogitRows = 64;

  // For steps of up to `max_tokens` tokens. `config`, `weights` (packed by `ops`), `ops` and `kv_cache` (allocated by
  // it for the model's layers and heads) outlive the decoder. RESOURCE_EXHAUSTED when memory cannot be had.
  static absl::StatusOr<std::unique_ptr<Decoder>> Make(const ModelConfig& config, const Weights& weights, Ops& ops,
                                                       KvCache& kv_cache, int max_tokens);

  // Runs all layers over the batch's tokens, appending their K and V to the cache. Of the batch it takes the tokens and
  // where they lie; page copies and logit rows are the caller's. `stop`, if there is one, is asked before each layer is
  // begun: once it says so nothing more is done, and this is false. REQUIRES: 1 <= batch.num_tokens() <= max_tokens; the
  // Ops's last step has been ended; no `stop` where Ops can queue steps.
  bool Forward(const Batch& batch, const std::function<bool()>& stop = nullptr);

  // Hidden states of these tokens of the last Forward, before the final norm: [rows, hidden_size], in memory that kernels
  // can address; valid until the next call. REQUIRES: 1 to kMaxLogitRows rows.
  MatrixView<const float> HiddenStates(std::span<const int32_t> rows);

  // Logits of these tokens of the last Forward, one row of vocab_size each, in memory that kernels can address; valid
  // until the next call. REQUIRES: 1 to kMaxLogitRows rows.
  MatrixView<const float> Logits(std::span<const int32_t> rows);

 private:
  // Owns its memory; [rows, cols] of it are in use.
  struct Activation {
    std::unique_ptr<Buffer> buffer;
    int64_t cols = 0;
    int64_t stride = 0;
    MatrixView<float> View(int64_t rows) const { return {buffer->data(), rows, cols, stride}; }
  };

  Decoder(const ModelConfig& config, const Weights& weights, Ops& ops, KvCache& kv_cache, int max_tokens);
  // Over the first num_rows rows of the activations.
  void Layer(int index, const PagedBatchView& batch, int num_rows);

  // Constant after construction.
  const ModelConfig& config_;
  const Weights& weights_;
  Ops& ops_;
  KvCache& kv_cache_;
  const int max_tokens_;

  std::unique_ptr<Buffer> inverse_frequencies_;

  int num_tokens_ = 0;    // Of the last Forward.
  Activation hidden_;     // [T, hidden], the residual stream
  Activation qkv_;        // [T, (heads + 2 * kv_heads) * head_dim]
  Activation attention_;  // [T, heads * head_dim]
  Activation gated_;      // [T, intermediate]
  Activation last_;       // [kMaxLogitRows, hidden], the rows that something is wanted of
  Activation logits_;     // [kMaxLogitRows, vocab]

  std::unique_ptr<StepRecording> recording_;  // Of all of the above.
};

}  // namespace quire
