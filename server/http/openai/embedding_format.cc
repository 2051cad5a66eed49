#include "server/http/openai/embedding_format.h"

#include <bit>
#include <charconv>
#include <utility>

#include "absl/strings/escaping.h"
#include "server/embedding.h"

namespace quire {
namespace {

// The shortest number that reads back as the same float; as a double it would have twice the digits.
double Shortest(float value) {
  char digits[32];
  const char* end = std::to_chars(digits, digits + sizeof(digits), value).ptr;
  double shortest = value;
  std::from_chars(digits, end, shortest);
  return shortest;
}

Json Numbers(const std::vector<float>& values) {
  Json numbers = Json::array();
  for (const float value : values) numbers.push_back(Shortest(value));
  return numbers;
}

Json Base64(const std::vector<float>& values) {
  static_assert(std::endian::native == std::endian::little, "the bytes of a float lie as clients read them");
  return absl::Base64Escape({reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)});
}

}  // namespace

void EmbeddingFormat::Collect(GenerationDelta news) {
  SequenceOutput& output = news.delta.output;
  if (!output.last) return;
  num_prompt_tokens_ += output.usage.prompt_tokens;
  std::vector<float> values = std::move(output.embedding);
  if (options_.dimensions) values.resize(*options_.dimensions);
  if (options_.normalize) Normalize(values);
  embeddings_[news.request] = options_.base64 ? Base64(values) : Numbers(values);
}

Json EmbeddingFormat::Whole() {
  Json data = Json::array();
  for (Json& embedding : embeddings_) {
    data.push_back({{"object", "embedding"}, {"index", data.size()}, {"embedding", std::move(embedding)}});
  }
  return {{"object", "list"},
          {"data", std::move(data)},
          {"model", model_},
          {"usage", {{"prompt_tokens", num_prompt_tokens_}, {"total_tokens", num_prompt_tokens_}}}};
}

}  // namespace quire
