// Llama, and what its files also hold: Mistral, SmolLM2, and others of the same structure. arXiv:2302.13971,
// arXiv:2407.21783.
#pragma once

#include "absl/status/statusor.h"
#include "engine/loader/checkpoint.h"
#include "engine/model/model_config.h"

namespace quire {

// From metadata "llama.*" and the tensors that it depends on. See ModelArchitecture::read_config.
absl::StatusOr<ModelConfig> ReadLlamaConfig(const Checkpoint& checkpoint);

}  // namespace quire
