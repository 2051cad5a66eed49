#include "engine/model/weights.h"

namespace quire {

int64_t Weights::bytes() const {
  int64_t total = embedding->bytes();
  if (output_head != embedding) total += output_head->bytes();
  for (const LayerWeights& layer : layers) {
    total += layer.qkv->bytes() + layer.attention_output->bytes() + layer.gate_up->bytes() + layer.down->bytes();
  }
  return total;
}

}  // namespace quire
