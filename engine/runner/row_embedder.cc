#include "engine/runner/row_embedder.h"

#include <cmath>

#include "engine/types/status_macros.h"
#include "kernels/check.h"

namespace quire {

absl::StatusOr<RowEmbedder> RowEmbedder::Make(const ModelConfig& config, const Weights& weights, Ops& ops) {
  const Buffer& norm = *weights.output_norm;
  const MatrixView<const float> on_host = ops.ToHost({norm.data(), 1, norm.size(), norm.size()});
  RETURN_IF_ERROR(ops.Synchronize());
  return RowEmbedder(std::vector<float>(on_host.data, on_host.data + on_host.cols), config.norm_epsilon);
}

bool RowEmbedder::Embed(std::span<const float> hidden, std::vector<float>* embedding) const {
  QUIRE_CHECK(hidden.size() == norm_.size());
  double sum_of_squares = 0;
  for (const float value : hidden) sum_of_squares += double{value} * value;
  const double scale = 1 / std::sqrt(sum_of_squares / static_cast<double>(hidden.size()) + epsilon_);
  embedding->resize(hidden.size());
  for (size_t i = 0; i < hidden.size(); ++i) (*embedding)[i] = static_cast<float>(hidden[i] * scale * norm_[i]);
  return std::isfinite(sum_of_squares);
}

}  // namespace quire
