// A checkpoint's vocabulary in the files that Hugging Face's tokenizers and transformers read.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/loader/checkpoint.h"

namespace quire {

struct TokenizerFile {
  std::string name;  // As "tokenizer.json".
  std::string contents;
};

// They encode and decode as the server does. INVALID_ARGUMENT when the checkpoint has no vocabulary, UNIMPLEMENTED when
// it is not byte-level BPE.
absl::StatusOr<std::vector<TokenizerFile>> MakeTokenizerFiles(const Checkpoint& checkpoint);

}  // namespace quire
