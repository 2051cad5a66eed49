// A second implementation of the forward pass, as the papers write it: one sequence, no pages, no cache, no batch,
// everything in double. It reads the checkpoint by itself and shares with the decoder only the dequantisation of
// weights.
#pragma once

#include <span>
#include <vector>

#include "block_manager/ids.h"
#include "engine/loader/checkpoint.h"

namespace quire {

struct NaiveModel {
  int num_layers = 0;
  int num_heads = 0;
  int num_kv_heads = 0;
  int head_dim = 0;
  double rope_base = 0;
  double rope_linear_factor = 1;
  int sliding_window = 0;
};

// Logits of every token, [T][vocab].
std::vector<std::vector<double>> NaiveLogits(const Checkpoint& checkpoint, const NaiveModel& model,
                                             std::span<const TokenId> tokens);

}  // namespace quire
