#include "engine/model/decoder.h"

#include <algorithm>
#include <cmath>

#include "engine/types/status_macros.h"
#include "kernels/check.h"

namespace quire {

namespace {

std::span<const float> Elements(const std::unique_ptr<Buffer>& vector) {
  return vector ? vector->elements() : std::span<float>();
}

}  // namespace

Decoder::Decoder(const ModelConfig& config, const Weights& weights, Ops& ops, KvCache& kv_cache, int max_tokens)
    : config_(config), weights_(weights), ops_(ops), kv_cache_(kv_cache), max_tokens_(max_tokens) {}

absl::StatusOr<std::unique_ptr<Decoder>> Decoder::Make(const ModelConfig& config, const Weights& weights, Ops& ops,
                                                       KvCache& kv_cache, int max_tokens) {
  QUIRE_CHECK(max_tokens >= 1);
  QUIRE_CHECK(kv_cache.layout().num_layers == config.num_layers);
  QUIRE_CHECK(kv_cache.layout().num_kv_heads == config.num_kv_heads);
  QUIRE_CHECK(kv_cache.layout().head_dim == config.head_dim);
  std::unique_ptr<Decoder> decoder(new Decoder(config, weights, ops, kv_cache, max_tokens));
  const auto allocate = [&ops](int64_t rows, int64_t cols, Activation& activation) -> absl::Status {
    // Rows a whole number of memory pages apart would meet in the same few lines of every cache.
    constexpr int64_t kPageFloats = 1024, kLineFloats = 16;
    activation.cols = cols;
    activation.stride = cols % kPageFloats == 0 ? cols + kLineFloats : cols;
    ASSIGN_OR_RETURN(activation.buffer, ops.Allocate(rows * activation.stride));
    return absl::OkStatus();
  };
  const int logit_rows = std::min(max_tokens, kMaxLogitRows);
  RETURN_IF_ERROR(allocate(max_tokens, config.hidden_size, decoder->hidden_));
  RETURN_IF_ERROR(allocate(max_tokens, config.qkv_size(), decoder->qkv_));
  RETURN_IF_ERROR(allocate(max_tokens, config.query_size(), decoder->attention_));
  RETURN_IF_ERROR(allocate(max_tokens, config.intermediate_size, decoder->gated_));
  RETURN_IF_ERROR(allocate(logit_rows, config.hidden_size, decoder->last_));
  RETURN_IF_ERROR(allocate(logit_rows, config.vocab_size, decoder->logits_));
  ASSIGN_OR_RETURN(decoder->inverse_frequencies_, ops.Upload(config.inverse_frequencies));
  decoder->recording_ = ops.NewRecording();
  return decoder;
}

bool Decoder::Forward(const Batch& batch, const std::function<bool()>& stop) {
  QUIRE_CHECK(stop == nullptr || !ops_.can_queue_steps());
  num_tokens_ = batch.num_tokens();
  QUIRE_CHECK(num_tokens_ >= 1 && num_tokens_ <= max_tokens_);
  const PagedBatchView view = batch.View();
  ops_.Embed(*weights_.embedding, batch.token_ids, hidden_.View(num_tokens_));
  bool stopped = false;
  ops_.RunStep({.batch = view, .max_rows = max_tokens_, .recording = recording_.get()}, [&](int num_rows) {
    for (int i = 0; i < config_.num_layers; ++i) {
      stopped = stop != nullptr && stop();
      if (stopped) return;
      Layer(i, view, num_rows);
    }
  });
  return !stopped;
}

void Decoder::Layer(int index, const PagedBatchView& batch, int num_rows) {
  const LayerWeights& layer = weights_.layers[index];
  const MatrixView<float> hidden = hidden_.View(num_rows);
  const MatrixView<float> qkv = qkv_.View(num_rows);
  const MatrixView<float> attention = attention_.View(num_rows);
  const MatrixView<float> gated = gated_.View(num_rows);
  const float epsilon = config_.norm_epsilon;

  ops_.MatMul({.input = hidden,
               .norm = {Elements(layer.attention_norm), epsilon},
               .weights = layer.qkv.get(),
               .bias = Elements(layer.qkv_bias),
               .output = qkv});
  ops_.RopeAppend({.qkv = qkv,
                   .num_heads = config_.num_heads,
                   .query_norm = {Elements(layer.query_norm), epsilon},
                   .key_norm = {Elements(layer.key_norm), epsilon},
                   .rope = {config_.rope_kind, Elements(inverse_frequencies_)},
                   .layer = index,
                   .kv_cache = &kv_cache_,
                   .batch = batch});
  ops_.Attention({.qkv = qkv,
                  .num_heads = config_.num_heads,
                  .scale = 1 / std::sqrt(static_cast<float>(config_.head_dim)),
                  .sliding_window = config_.sliding_window,
                  .layer = index,
                  .kv_cache = &kv_cache_,
                  .batch = batch,
                  .output = attention});
  ops_.MatMul({.input = attention,
               .weights = layer.attention_output.get(),
               .bias = Elements(layer.attention_output_bias),
               .epilogue = Epilogue::kAdd,
               .output = hidden});
  ops_.MatMul({.input = hidden,
               .norm = {Elements(layer.feed_forward_norm), epsilon},
               .weights = layer.gate_up.get(),
               .epilogue = Epilogue::kGate,
               .activation = config_.activation,
               .output = gated});
  ops_.MatMul({.input = gated, .weights = layer.down.get(), .epilogue = Epilogue::kAdd, .output = hidden});
}

MatrixView<const float> Decoder::HiddenStates(std::span<const int32_t> rows) {
  const int64_t num_rows = static_cast<int64_t>(rows.size());
  QUIRE_CHECK(num_rows >= 1 && num_rows <= std::min(max_tokens_, kMaxLogitRows));
  ops_.GatherRows(hidden_.View(num_tokens_), rows, last_.View(num_rows));
  return last_.View(num_rows);
}

MatrixView<const float> Decoder::Logits(std::span<const int32_t> rows) {
  const int64_t num_rows = static_cast<int64_t>(rows.size());
  ops_.MatMul({.input = HiddenStates(rows),
               .norm = {Elements(weights_.output_norm), config_.norm_epsilon},
               .weights = weights_.output_head.get(),
               .output = logits_.View(num_rows)});
  return logits_.View(num_rows);
}

}  // namespace quire
