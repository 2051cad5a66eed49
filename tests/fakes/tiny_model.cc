#include "tests/fakes/tiny_model.h"

#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "kernels/bfloat16.h"
#include "kernels/check.h"
#include "kernels/float16.h"
#include "tests/fakes/tiny_tokenizer.h"

namespace quire {
namespace {

void PutHalf(std::string& bytes, size_t offset, float value) {
  const uint16_t half = ToFloat16(value);
  std::memcpy(bytes.data() + offset, &half, sizeof(half));
}

// A block whose quants are random; its scales make elements of about the deviation wanted.
std::string RandomBlock(DType dtype, float deviation, std::mt19937& random) {
  std::string block(TraitsOf(dtype).block_bytes, '\0');
  for (char& byte : block) byte = static_cast<char>(random());
  switch (dtype) {
    case DType::kQ8_0:
      PutHalf(block, 0, deviation / 74);
      break;
    case DType::kQ4_0:
      PutHalf(block, 0, deviation / 4.6f);
      break;
    case DType::kQ5_0:
      PutHalf(block, 0, deviation / 9.2f);
      break;
    case DType::kQ4_1:
      PutHalf(block, 0, deviation / 4.6f);
      PutHalf(block, 2, -7.5f * deviation / 4.6f);
      break;
    case DType::kQ5_1:
      PutHalf(block, 0, deviation / 9.2f);
      PutHalf(block, 2, -15.5f * deviation / 9.2f);
      break;
    case DType::kQ4_K:
      PutHalf(block, 0, deviation / 200);
      PutHalf(block, 2, 7.5f * deviation / 200);
      break;
    case DType::kQ5_K:
      PutHalf(block, 0, deviation / 400);
      PutHalf(block, 2, 15.5f * deviation / 400);
      break;
    case DType::kQ6_K:
      PutHalf(block, 208, deviation / 1370);
      break;
    default:
      QUIRE_CHECK(false);
  }
  return block;
}

class ModelWriter {
 public:
  explicit ModelWriter(const TinyModelOptions& options) : options_(options), random_(options.seed) {}

  GgufWriter Write() &&;

 private:
  void AddMetadata();
  void AddTokenizer();
  void AddLayer(int index);
  void AddVector(const std::string& name, int size, float mean, float deviation);
  void AddMatrix(const std::string& name, int rows, int cols);

  const TinyModelOptions options_;
  std::mt19937 random_;
  GgufWriter writer_;
};

void ModelWriter::AddMetadata() {
  writer_.SetString("general.architecture", "llama");
  writer_.SetUint32("llama.block_count", options_.num_layers);
  writer_.SetUint32("llama.context_length", 256);
  writer_.SetUint32("llama.embedding_length", options_.hidden_size);
  writer_.SetUint32("llama.feed_forward_length", options_.intermediate_size);
  writer_.SetUint32("llama.attention.head_count", options_.num_heads);
  writer_.SetUint32("llama.attention.head_count_kv", options_.num_kv_heads);
  writer_.SetUint32("llama.attention.key_length", options_.head_dim);
  writer_.SetUint32("llama.attention.value_length", options_.head_dim);
  writer_.SetUint32("llama.vocab_size", kTinyVocabSize);
  writer_.SetFloat32("llama.attention.layer_norm_rms_epsilon", 1e-5f);
  writer_.SetFloat32("llama.rope.freq_base", 1000);
}

void ModelWriter::AddTokenizer() {
  const TokenizerSpec spec = TinyTokenizerSpec({"h e", "l l"}, {{"<|endoftext|>", TokenKind::kControl},
                                                                {"<|im_start|>", TokenKind::kControl},
                                                                {"<|im_end|>", TokenKind::kControl}});
  QUIRE_CHECK(spec.tokens.size() == kTinyVocabSize);
  std::vector<int32_t> types;
  for (const TokenKind kind : spec.kinds) types.push_back(kind == TokenKind::kControl ? 3 : 1);
  writer_.SetString("tokenizer.ggml.model", spec.model);
  writer_.SetString("tokenizer.ggml.pre", spec.pre);
  writer_.SetStrings("tokenizer.ggml.tokens", spec.tokens);
  writer_.SetInt32s("tokenizer.ggml.token_type", types);
  writer_.SetStrings("tokenizer.ggml.merges", spec.merges);
  writer_.SetUint32("tokenizer.ggml.bos_token_id", kTinyVocabSize - 2);
  writer_.SetUint32("tokenizer.ggml.eos_token_id", kTinyVocabSize - 1);
  writer_.SetString(
      "tokenizer.chat_template",
      "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
      "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}");
}

void ModelWriter::AddVector(const std::string& name, int size, float mean, float deviation) {
  std::normal_distribution<float> distribution(mean, deviation);
  std::vector<float> values(size);
  for (float& value : values) value = distribution(random_);
  writer_.AddTensor(name, {static_cast<uint64_t>(size)}, GgmlTypeOf(DType::kF32),
                    std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)));
}

void ModelWriter::AddMatrix(const std::string& name, int rows, int cols) {
  const DTypeTraits traits = TraitsOf(options_.dtype);
  QUIRE_CHECK(cols % traits.block_elements == 0);
  // Keeps the size of activations from layer to layer.
  const float deviation = 1 / std::sqrt(static_cast<float>(cols));
  std::normal_distribution<float> distribution(0, deviation);
  std::string bytes;
  for (int64_t i = 0; i < int64_t{rows} * cols / traits.block_elements; ++i) {
    if (options_.dtype == DType::kF32) {
      const float value = distribution(random_);
      bytes.append(reinterpret_cast<const char*>(&value), sizeof(value));
    } else if (options_.dtype == DType::kF16 || options_.dtype == DType::kBF16) {
      const float value = distribution(random_);
      const uint16_t bits = options_.dtype == DType::kF16 ? ToFloat16(value) : ToBFloat16(value);
      bytes.append(reinterpret_cast<const char*>(&bits), sizeof(bits));
    } else {
      bytes += RandomBlock(options_.dtype, deviation, random_);
    }
  }
  writer_.AddTensor(name, {static_cast<uint64_t>(cols), static_cast<uint64_t>(rows)}, GgmlTypeOf(options_.dtype),
                    bytes);
}

void ModelWriter::AddLayer(int index) {
  const std::string prefix = "blk." + std::to_string(index) + ".";
  const int query_size = options_.num_heads * options_.head_dim;
  const int kv_size = options_.num_kv_heads * options_.head_dim;
  AddVector(prefix + "attn_norm.weight", options_.hidden_size, 1, 0.2f);
  AddMatrix(prefix + "attn_q.weight", query_size, options_.hidden_size);
  AddMatrix(prefix + "attn_k.weight", kv_size, options_.hidden_size);
  AddMatrix(prefix + "attn_v.weight", kv_size, options_.hidden_size);
  AddMatrix(prefix + "attn_output.weight", options_.hidden_size, query_size);
  if (options_.biases) {
    AddVector(prefix + "attn_q.bias", query_size, 0, 0.5f);
    AddVector(prefix + "attn_k.bias", kv_size, 0, 0.5f);
    AddVector(prefix + "attn_v.bias", kv_size, 0, 0.5f);
    AddVector(prefix + "attn_output.bias", options_.hidden_size, 0, 0.5f);
  }
  if (options_.qk_norm) {
    AddVector(prefix + "attn_q_norm.weight", options_.head_dim, 1, 0.5f);
    AddVector(prefix + "attn_k_norm.weight", options_.head_dim, 1, 0.5f);
  }
  AddVector(prefix + "ffn_norm.weight", options_.hidden_size, 1, 0.2f);
  AddMatrix(prefix + "ffn_gate.weight", options_.intermediate_size, options_.hidden_size);
  AddMatrix(prefix + "ffn_up.weight", options_.intermediate_size, options_.hidden_size);
  AddMatrix(prefix + "ffn_down.weight", options_.hidden_size, options_.intermediate_size);
}

GgufWriter ModelWriter::Write() && {
  AddMetadata();
  AddTokenizer();
  AddMatrix("token_embd.weight", kTinyVocabSize, options_.hidden_size);
  for (int i = 0; i < options_.num_layers; ++i) AddLayer(i);
  AddVector("output_norm.weight", options_.hidden_size, 1, 0.2f);
  if (!options_.tied_embeddings) AddMatrix("output.weight", kTinyVocabSize, options_.hidden_size);
  if (options_.rope_factors) AddVector("rope_freqs.weight", options_.head_dim / 2, 3, 0.5f);
  return std::move(writer_);
}

}  // namespace

GgufWriter TinyModel(const TinyModelOptions& options) { return ModelWriter(options).Write(); }

std::string WriteTinyModel(const TinyModelOptions& options) {
  return WriteTestFile("tiny.gguf", TinyModel(options).Write().bytes);
}

}  // namespace quire
