// Byte-level byte-pair encoding as GPT-2 has it (tokenizer.ggml.model "gpt2"): any text is a sequence of bytes, each
// byte a token, and pairs of tokens merge.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "engine/tokenizer/tokenizer.h"

namespace quire {

// Text is read in three steps: added tokens are taken out of it, the pre-tokenizer cuts what is between them into
// words, and each word's bytes merge. A byte without a token of its own is left out, as the vocabularies that lack one
// were trained. INVALID_ARGUMENT when the description contradicts itself, naming the key of the file.
absl::StatusOr<std::unique_ptr<Tokenizer>> MakeBytePairTokenizer(TokenizerSpec spec);

}  // namespace quire
