// Everything that a model file gives to the rest of the server: how to compute, how to read and write text, its names.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "engine/model/model_config.h"
#include "engine/model/weights.h"
#include "engine/tokenizer/chat_template.h"
#include "engine/tokenizer/tokenizer.h"
#include "kernels/ops.h"

namespace quire {

struct LoadedModel {
  std::string name;          // Its file name without folder and extension.
  std::string architecture;  // As the file names it: "llama".
  ModelConfig config;
  Weights weights;  // In the layout of the Ops they were packed with.
  WeightPrecision precision = WeightPrecision::kAsStored;  // Of the weights of layers.
  std::unique_ptr<Tokenizer> tokenizer;
  std::unique_ptr<ChatTemplate> chat_template;  // Null when the file has none.
  std::string chat_template_error;              // Why there is none, for the error that a Chat call gets.
  // Of metadata and tensor shapes and a sample of each tensor's bytes: the root of cache keys.
  uint64_t fingerprint = 0;
};

// Called with 0..1 as loading goes on; may be empty.
using LoadProgress = std::function<void(float)>;

// Opens `path`, repacks its weights with `ops`, those of the layers' matrices in `precision`. INVALID_ARGUMENT or
// NOT_FOUND with the file's path and what is wrong.
absl::StatusOr<LoadedModel> LoadModel(const std::string& path, Ops& ops, const LoadProgress& progress,
                                      WeightPrecision precision = WeightPrecision::kAsStored);

}  // namespace quire
