// LocalModelRunner: the ModelRunner that computes in this process.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/model/decoder.h"
#include "engine/model/loaded_model.h"
#include "engine/runner/model_runner.h"
#include "engine/sampling/sample_row_builder.h"
#include "engine/sampling/sampler.h"

namespace quire {

// Threads: the engine's. Steps allocate nothing once the largest has been seen, but for log-probabilities.
class LocalModelRunner : public ModelRunner {
 public:
  // For steps of up to `max_num_batched_tokens` tokens. What is referred to outlives the runner; `kv_cache` was
  // allocated by `ops` for the model's layers and heads. RESOURCE_EXHAUSTED when memory for activations cannot be had.
  static absl::StatusOr<std::unique_ptr<LocalModelRunner>> Make(const LoadedModel& model, Ops& ops, KvCache& kv_cache,
                                                                int max_num_batched_tokens);

  void Launch(const Batch& batch) override;
  absl::StatusOr<std::span<const SampledToken>> Await() override;

 private:
  LocalModelRunner(std::unique_ptr<Decoder> decoder, std::vector<Sampler> samplers, SampleRowBuilder row_builder,
                   Ops& ops, KvCache& kv_cache);

  // Answers logit_rows[order_[begin, ...)] as far as one call of Decoder::Logits reaches; returns where it stopped.
  absl::StatusOr<size_t> SampleSlice(const std::vector<LogitRow>& logit_rows, size_t begin);
  // A matter of the row alone, so that neighbours do not change who rounds its sums.
  bool IsForDevice(const LogitRow& row) const;

  const std::unique_ptr<Decoder> decoder_;
  std::vector<Sampler> samplers_;  // One for each of the host workers of ops_.
  SampleRowBuilder row_builder_;
  Ops& ops_;
  KvCache& kv_cache_;

  const Batch* batch_ = nullptr;       // The step in flight.
  std::vector<size_t> order_;          // Of batch_->logit_rows, those of one token side by side.
  std::vector<int32_t> rows_;          // Tokens of one slice.
  // The slice's logit rows, by who chooses.
  struct Choice {
    size_t index;  // Into batch_->logit_rows.
    int slot;      // Where in rows_ its token is.
  };
  std::vector<Choice> by_device_;
  std::vector<Choice> by_host_;
  std::vector<SampledToken> sampled_;  // Only grows, so that what its elements own is kept.
};

}  // namespace quire
