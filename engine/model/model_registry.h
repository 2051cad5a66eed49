// The architectures that can be run: what a model file calls itself, to the two things that tell it apart.
#pragma once

#include <string_view>

#include "absl/status/statusor.h"
#include "engine/loader/checkpoint.h"
#include "engine/model/model_config.h"
#include "engine/model/weight_loader.h"

namespace quire {

struct ModelArchitecture {
  std::string_view name;  // Of metadata "general.architecture".
  // Not yet validated. INVALID_ARGUMENT names the key that is missing or asks for what is not supported.
  absl::StatusOr<ModelConfig> (*read_config)(const Checkpoint& checkpoint);
  TensorNames tensor_names;
};

// INVALID_ARGUMENT lists the names there are.
absl::StatusOr<const ModelArchitecture*> FindArchitecture(std::string_view name);

}  // namespace quire
