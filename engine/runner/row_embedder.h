// RowEmbedder: makes embeddings of hidden states, by the model's final norm.
#pragma once

#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/model/model_config.h"
#include "engine/model/weights.h"
#include "kernels/ops.h"

namespace quire {

// On the host: a request has one such row in its life, and the norm is no work beside the pass that made the row.
class RowEmbedder {
 public:
  // Reads the norm's weights from the backend. UNAVAILABLE when the device has failed.
  static absl::StatusOr<RowEmbedder> Make(const ModelConfig& config, const Weights& weights, Ops& ops);

  // Fills *embedding with the normalised hidden state; false if it is not finite. Sums have a fixed order.
  bool Embed(std::span<const float> hidden, std::vector<float>* embedding) const;

 private:
  RowEmbedder(std::vector<float> norm, float epsilon) : norm_(std::move(norm)), epsilon_(epsilon) {}

  std::vector<float> norm_;
  float epsilon_ = 0;
};

}  // namespace quire
