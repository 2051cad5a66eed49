// Complete models with random weights and a byte-level tokenizer, small enough to be written by every test that wants
// one.
#pragma once

#include <cstdint>
#include <string>

#include "kernels/dtype.h"
#include "tests/fakes/gguf_writer.h"

namespace quire {

struct TinyModelOptions {
  uint32_t seed = 1;
  DType dtype = DType::kF32;  // Of all matrices. The K formats need sizes in multiples of 256.
  int hidden_size = 64;
  int intermediate_size = 96;
  int num_layers = 2;
  int num_heads = 4;
  int num_kv_heads = 2;
  int head_dim = 16;
  bool tied_embeddings = true;
  bool biases = false;   // Of Q, K, V and the attention's output.
  bool qk_norm = false;  // Tensors attn_q_norm and attn_k_norm, which plain Llama does not have.
  bool rope_factors = false;
};

// 256 bytes, two merges, and the three special tokens of ChatML, of which <|im_end|> is EOS.
inline constexpr int kTinyVocabSize = 261;

// To be changed by tests that want something else about it.
GgufWriter TinyModel(const TinyModelOptions& options = {});

// The file's path.
std::string WriteTinyModel(const TinyModelOptions& options = {});

}  // namespace quire
