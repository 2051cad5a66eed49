// LocalModelRunner: the ModelRunner that computes in this process.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/model/decoder.h"
#include "engine/model/loaded_model.h"
#include "engine/runner/constraint_masks.h"
#include "engine/runner/model_runner.h"
#include "engine/runner/row_embedder.h"
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

  int max_steps_under_way() const override { return ops_.can_queue_steps() ? Ops::kMostQueuedSteps : 1; }
  void Launch(const Batch& batch, const GivesWay& gives_way) override;
  absl::StatusOr<std::span<const SampledToken>> Await() override;

  absl::StatusOr<std::unique_ptr<HostPages>> AllocateHostPages(int num_pages) override {
    return ops_.AllocateHostPages(kv_cache_.layout(), num_pages);
  }
  absl::StatusOr<uint64_t> StartToHost(std::span<const PageTransfer> pages, HostPages& host) override {
    return ops_.StartToHost(kv_cache_, pages, host);
  }
  absl::StatusOr<uint64_t> StartFromHost(std::span<const PageTransfer> pages, const HostPages& host) override {
    return ops_.StartFromHost(kv_cache_, pages, host);
  }
  absl::StatusOr<uint64_t> TransfersDone(uint64_t wait_for) override { return ops_.TransfersDone(wait_for); }

 private:
  LocalModelRunner(std::unique_ptr<Decoder> decoder, std::vector<Sampler> samplers, SampleRowBuilder row_builder,
                   ConstraintMasks masks, RowEmbedder embedder, Ops& ops, KvCache& kv_cache);

  // Launched and not collected.
  struct Choice {
    size_t index;  // Into the batch's logit_rows.
    int slot;      // Of its token among the slice's.
  };
  struct DeviceSlice {
    size_t first;  // In by_device.
    std::span<const SampledRow> chosen;
  };
  // A step under way.
  struct Step {
    const Batch* batch = nullptr;
    bool given_up = false;
    bool has_ended = false;  // All of it has been put on the device's way, and the host has no part in it.
    std::vector<Choice> by_device;
    std::vector<DeviceSlice> slices;
  };

  // Puts the logits of the next of order_ on the device's way, and its choices, one call of Decoder::Logits after the
  // other; up to the end, or to the first call some of whose rows are the host's, since their logits are read before
  // they are overwritten.
  void LaunchSlices(Step& step);
  // What has been launched is there: takes the device's choices and makes the host's.
  void CollectSlices(const Step& step);
  // The step in which the host has a part, to its end.
  absl::Status FinishWithHost(Step& step);
  // Answers logit_rows[to_embed_[...]].
  absl::Status EmbedRows(const std::vector<LogitRow>& logit_rows);
  // A matter of the row alone, so that neighbours do not change who rounds its sums.
  bool IsForDevice(const LogitRow& row) const;

  const std::unique_ptr<Decoder> decoder_;
  std::vector<Sampler> samplers_;  // One for each of the host workers of ops_.
  SampleRowBuilder row_builder_;
  ConstraintMasks masks_;  // Of the step launched last, as all below.
  const RowEmbedder embedder_;
  Ops& ops_;
  KvCache& kv_cache_;

  Step steps_[Ops::kMostQueuedSteps];
  int oldest_ = 0;
  int num_under_way_ = 0;

  // Of a step that has not ended there is no other behind it.
  std::vector<size_t> to_embed_;   // Of its logit_rows, those whose hidden state is wanted.
  std::vector<size_t> order_;      // Of the others, those of one token side by side.
  size_t num_launched_ = 0;        // Of order_.

  std::vector<int32_t> rows_;            // Tokens of a slice.
  std::vector<Choice> by_host_;          // Of the last slice,
  MatrixView<const float> host_logits_;  // which has these.

  std::vector<SampledToken> sampled_;  // Only grows, so that what its elements own is kept.
};

}  // namespace quire
