#include "engine/runner/local_model_runner.h"

#include <algorithm>
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
  ConstraintMasks masks(model.config.vocab_size, model.tokenizer->end_tokens());
  ASSIGN_OR_RETURN(RowEmbedder embedder, RowEmbedder::Make(model.config, model.weights, ops));
  return std::unique_ptr<LocalModelRunner>(
      new LocalModelRunner(std::move(decoder), std::move(samplers), std::move(row_builder), std::move(masks),
                           std::move(embedder), ops, kv_cache));
}

LocalModelRunner::LocalModelRunner(std::unique_ptr<Decoder> decoder, std::vector<Sampler> samplers,
                                   SampleRowBuilder row_builder, ConstraintMasks masks, RowEmbedder embedder, Ops& ops,
                                   KvCache& kv_cache)
    : decoder_(std::move(decoder)),
      samplers_(std::move(samplers)),
      row_builder_(std::move(row_builder)),
      masks_(std::move(masks)),
      embedder_(std::move(embedder)),
      ops_(ops),
      kv_cache_(kv_cache) {}

void LocalModelRunner::Launch(const Batch& batch, const GivesWay& gives_way) {
  QUIRE_CHECK(num_under_way_ < max_steps_under_way() && (num_under_way_ == 0 || steps_[oldest_].has_ended));
  Step& step = steps_[(oldest_ + num_under_way_++) % Ops::kMostQueuedSteps];
  step.batch = &batch;
  step.given_up = step.has_ended = false;
  if (!batch.page_copies.empty()) ops_.CopyPages(kv_cache_, batch.page_copies);
  if (batch.num_tokens() > 0) {
    step.given_up = !decoder_->Forward(batch, ops_.can_queue_steps() ? nullptr : gives_way);
    if (step.given_up) return;
  }
  const std::vector<LogitRow>& logit_rows = batch.logit_rows;
  order_.clear();
  to_embed_.clear();
  for (size_t i = 0; i < logit_rows.size(); ++i) (logit_rows[i].embed ? to_embed_ : order_).push_back(i);
  // Rows that a step launched ahead may name are in order already, so that they are chosen as they are numbered.
  std::sort(order_.begin(), order_.end(),
            [&](size_t a, size_t b) { return std::pair(logit_rows[a].row, a) < std::pair(logit_rows[b].row, b); });
  if (sampled_.size() < logit_rows.size()) sampled_.resize(logit_rows.size());
  masks_.Fill(logit_rows, ops_);  // While a device may be computing.
  num_launched_ = 0;
  LaunchSlices(step);
  step.has_ended = to_embed_.empty() && by_host_.empty() && num_launched_ == order_.size();
  if (step.has_ended) ops_.EndStep();
}

absl::StatusOr<std::span<const SampledToken>> LocalModelRunner::Await() {
  QUIRE_CHECK(num_under_way_ > 0);
  Step& step = steps_[oldest_];
  oldest_ = (oldest_ + 1) % Ops::kMostQueuedSteps;
  --num_under_way_;
  if (step.given_up) {
    RETURN_IF_ERROR(ops_.Synchronize());
    return absl::AbortedError("the step gave way to another");
  }
  if (step.has_ended) {
    RETURN_IF_ERROR(ops_.AwaitStep());
    CollectSlices(step);
  } else {
    RETURN_IF_ERROR(FinishWithHost(step));
  }
  return std::span<const SampledToken>(sampled_).first(step.batch->logit_rows.size());
}

absl::Status LocalModelRunner::FinishWithHost(Step& step) {
  for (;;) {
    RETURN_IF_ERROR(ops_.Synchronize());
    CollectSlices(step);
    if (num_launched_ == order_.size()) break;
    LaunchSlices(step);
  }
  return EmbedRows(step.batch->logit_rows);
}

absl::Status LocalModelRunner::EmbedRows(const std::vector<LogitRow>& logit_rows) {
  for (size_t begin = 0; begin < to_embed_.size(); begin += Decoder::kMaxLogitRows) {
    const size_t count = std::min<size_t>(to_embed_.size() - begin, Decoder::kMaxLogitRows);
    const std::span<const size_t> slice = std::span(to_embed_).subspan(begin, count);
    rows_.clear();
    for (const size_t index : slice) rows_.push_back(logit_rows[index].row);
    const MatrixView<const float> hidden = ops_.ToHost(decoder_->HiddenStates(rows_));
    RETURN_IF_ERROR(ops_.Synchronize());
    for (size_t i = 0; i < count; ++i) {
      SampledToken& answer = sampled_[slice[i]];
      const std::span<const float> row(hidden.Row(static_cast<int64_t>(i)), static_cast<size_t>(hidden.cols));
      answer.status = embedder_.Embed(row, &answer.embedding) ? absl::OkStatus() : LogitsNotFinite();
    }
  }
  return absl::OkStatus();
}

bool LocalModelRunner::IsForDevice(const LogitRow& row) const {
  return ops_.can_sample() && row.score < 0 && row.params->logprobs <= 0;
}

void LocalModelRunner::LaunchSlices(Step& step) {
  const std::vector<LogitRow>& logit_rows = step.batch->logit_rows;
  std::vector<Choice>& by_device = step.by_device;
  by_device.clear();
  step.slices.clear();
  by_host_.clear();
  while (num_launched_ < order_.size() && by_host_.empty()) {
    const size_t first = by_device.size();
    rows_.clear();
    for (; num_launched_ < order_.size(); ++num_launched_) {
      const size_t index = order_[num_launched_];
      const LogitRow& row = logit_rows[index];
      if (const absl::Status& status = masks_.status(index); !status.ok()) {
        sampled_[index].status = status;
        continue;
      }
      if (rows_.empty() || rows_.back() != row.row) {
        if (rows_.size() == Decoder::kMaxLogitRows) break;
        rows_.push_back(row.row);
      }
      (IsForDevice(row) ? by_device : by_host_).push_back({index, static_cast<int>(rows_.size()) - 1});
    }
    if (rows_.empty()) continue;  // Their constraints failed.
    const MatrixView<const float> logits = decoder_->Logits(rows_);
    if (const size_t count = by_device.size() - first; count > 0) {
      step.slices.push_back({first, ops_.Sample(logits, static_cast<int>(count), [&](int i) {
                           const Choice& choice = by_device[first + i];
                           return row_builder_.Build(masks_.Constrained(choice.index), choice.slot);
                         })});
    }
    if (!by_host_.empty()) host_logits_ = ops_.ToHost(logits);
  }
}

void LocalModelRunner::CollectSlices(const Step& step) {
  for (const DeviceSlice& slice : step.slices) {
    for (size_t i = 0; i < slice.chosen.size(); ++i) {
      SampledToken& sampled = sampled_[step.by_device[slice.first + i].index];
      sampled.status = slice.chosen[i].ok ? absl::OkStatus() : LogitsNotFinite();
      sampled.token = slice.chosen[i].token;
      sampled.logprob = slice.chosen[i].logprob;
      sampled.top.clear();
    }
  }
  if (step.has_ended) return;
  ops_.ForEach(static_cast<int64_t>(by_host_.size()), [&](int64_t i, int worker) {
    const Choice& choice = by_host_[i];
    const std::span<const float> row_logits(host_logits_.Row(choice.slot), host_logits_.cols);
    samplers_[worker].Sample(row_logits, masks_.Constrained(choice.index), &sampled_[choice.index]);
  });
}

}  // namespace quire
