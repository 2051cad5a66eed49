#include "engine/model/weights.h"

namespace quire {
namespace {

// The sum of `measure` over all packed matrices, a shared one counted once.
template <typename Measure>
int64_t Sum(const Weights& weights, Measure measure) {
  int64_t total = measure(*weights.embedding);
  if (weights.output_head != weights.embedding) total += measure(*weights.output_head);
  for (const LayerWeights& layer : weights.layers) {
    total += measure(*layer.qkv) + measure(*layer.attention_output) + measure(*layer.gate_up) + measure(*layer.down);
  }
  return total;
}

}  // namespace

int64_t Weights::bytes() const {
  return Sum(*this, [](const PackedMatrix& matrix) { return matrix.bytes(); });
}

int64_t Weights::num_parameters() const {
  return Sum(*this, [](const PackedMatrix& matrix) { return matrix.rows() * matrix.cols(); });
}

}  // namespace quire
