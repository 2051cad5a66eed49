// Vocabularies that tests write themselves.
#pragma once

#include <string>
#include <vector>

#include "engine/tokenizer/tokenizer.h"

namespace quire {

// A byte-level vocabulary: tokens 0 to 255 are the bytes of those values, then one for each merge ("left right", in
// GPT-2's spelling of bytes), then the added ones.
struct AddedToken {
  std::string text;
  TokenKind kind;
};
TokenizerSpec TinyTokenizerSpec(const std::vector<std::string>& merges, const std::vector<AddedToken>& added = {});

}  // namespace quire
