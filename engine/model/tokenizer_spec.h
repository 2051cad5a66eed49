// Reads a checkpoint's description of its vocabulary.
#pragma once

#include "absl/status/statusor.h"
#include "engine/loader/checkpoint.h"
#include "engine/tokenizer/tokenizer.h"

namespace quire {

// From metadata "tokenizer.ggml.*". INVALID_ARGUMENT names the key that is missing or wrong.
absl::StatusOr<TokenizerSpec> ReadTokenizerSpec(const Checkpoint& checkpoint);

}  // namespace quire
