#include "engine/runner/local_model_runner.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "engine/types/status_macros.h"
#include "kernels/check.h"

namespace quire {

absl::StatusOr<std::unique_ptr<LocalModelRunner>> LocalModelRunner::Make(const LoadedModel& model, Ops& ops,
                                                                         KvCache& kv_cache,
                                                                         int max_num_batched_tokens) {
  ASSIGN_OR_RETURN(std::unique_ptr<Decoder> decoder,
                   Decoder::Make(model.config, model.weights, ops, kv_cache, max_num_batched_tokens));
  std::vector<Sampler> samplers;
  for (int worker = 0; worker < ops.num_host_workers(); ++worker) {
    samplers.emplace_back(model.config.vocab_size, model.tokenizer->end_tokens());
  }
  SampleRowBuilder row_builder(model.config.vocab_size, model.tokenizer->end_tokens());
  return std::unique_ptr<LocalModelRunner>(
      new LocalModelRunner(std::move(decoder), std::move(samplers), std::move(row_builder), ops, kv_cache));
}

LocalModelRunner::LocalModelRunner(std::unique_ptr<Decoder> decoder, std::vector<Sampler> samplers,
                                   SampleRowBuilder row_builder, Ops& ops, KvCache& kv_cache)
    : decoder_(std::move(decoder)),
      samplers_(std::move(samplers)),
      row_builder_(std::move(row_builder)),
      ops_(ops),
      kv_cache_(kv_cache) {}

void LocalModelRunner::Launch(const Batch& batch) {
  QUIRE_CHECK(batch_ == nullptr);
  batch_ = &batch;
  if (!batch.page_copies.empty()) ops_.CopyPages(kv_cache_, batch.page_copies);
  if (batch.num_tokens() > 0) decoder_->Forward(batch);
}

absl::StatusOr<std::span<const SampledToken>> LocalModelRunner::Await() {
  QUIRE_CHECK(batch_ != nullptr);
  const std::vector<LogitRow>& logit_rows = std::exchange(batch_, nullptr)->logit_rows;
  order_.resize(logit_rows.size());
  std::iota(order_.begin(), order_.end(), size_t{0});
  std::sort(order_.begin(), order_.end(),
            [&](size_t a, size_t b) { return std::pair(logit_rows[a].row, a) < std::pair(logit_rows[b].row, b); });
  if (sampled_.size() < logit_rows.size()) sampled_.resize(logit_rows.size());
  for (size_t done = 0; done < order_.size();) {
    ASSIGN_OR_RETURN(done, SampleSlice(logit_rows, done));
  }
  // Also where nothing was sampled, a step is over only when its writes are.
  RETURN_IF_ERROR(ops_.Synchronize());
  return std::span<const SampledToken>(sampled_).first(order_.size());
}

bool LocalModelRunner::IsForDevice(const LogitRow& row) const {
  return ops_.can_sample() && row.score < 0 && row.params->logprobs <= 0;
}

absl::StatusOr<size_t> LocalModelRunner::SampleSlice(const std::vector<LogitRow>& logit_rows, size_t begin) {
  rows_.clear();
  by_device_.clear();
  by_host_.clear();
  size_t end = begin;
  for (; end < order_.size(); ++end) {
    const LogitRow& row = logit_rows[order_[end]];
    if (rows_.empty() || rows_.back() != row.row) {
      if (rows_.size() == Decoder::kMaxLogitRows) break;
      rows_.push_back(row.row);
    }
    (IsForDevice(row) ? by_device_ : by_host_).push_back({order_[end], static_cast<int>(rows_.size()) - 1});
  }
  const MatrixView<const float> logits = decoder_->Logits(rows_);
  std::span<const SampledRow> chosen;
  if (!by_device_.empty()) {
    chosen = ops_.Sample(logits, static_cast<int>(by_device_.size()), [&](int i) {
      return row_builder_.Build(logit_rows[by_device_[i].index], by_device_[i].slot);
    });
  }
  MatrixView<const float> on_host;
  if (!by_host_.empty()) on_host = ops_.ToHost(logits);
  RETURN_IF_ERROR(ops_.Synchronize());
  for (size_t i = 0; i < by_device_.size(); ++i) {
    SampledToken& sampled = sampled_[by_device_[i].index];
    sampled.ok = chosen[i].ok;
    sampled.token = chosen[i].token;
    sampled.logprob = chosen[i].logprob;
    sampled.top.clear();
  }
  ops_.ForEach(static_cast<int64_t>(by_host_.size()), [&](int64_t i, int worker) {
    const Choice& choice = by_host_[i];
    const std::span<const float> row_logits(on_host.Row(choice.slot), on_host.cols);
    samplers_[worker].Sample(row_logits, logit_rows[choice.index], &sampled_[choice.index]);
  });
  return end;
}

}  // namespace quire
