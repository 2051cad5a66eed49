#include "server/http/openai/text_logprobs.h"

#include <algorithm>

namespace quire {

void TextLogprobs::Add(const std::vector<TokenLogprob>& logprobs) {
  for (const TokenLogprob& logprob : logprobs) {
    tokens_.push_back(logprob);
    bytes_ += tokenizer_.TokenBytes(logprob.token, /*keep_special=*/false);
  }
}

std::vector<TokenLogprob> TextLogprobs::Take(std::string_view text) {
  if (text.empty()) return {};
  // Bytes that are no characters are shown as others: then the text begins where the last one ended.
  const size_t found = bytes_.find(text);
  const size_t begin = found == bytes_.npos ? 0 : found;
  const size_t end = std::min(begin + text.size(), bytes_.size());
  std::vector<TokenLogprob> given;
  size_t place = rest_, num_passed = 0;
  for (; num_passed < tokens_.size() && place < end; ++num_passed) {
    const size_t length = tokenizer_.TokenBytes(tokens_[num_passed].token, /*keep_special=*/false).size();
    place += length;
    if (length > 0 && place > begin) given.push_back(tokens_[num_passed]);
  }
  tokens_.erase(tokens_.begin(), tokens_.begin() + static_cast<ptrdiff_t>(num_passed));
  bytes_.erase(0, end);
  rest_ = std::max(place, end) - end;
  return given;
}

}  // namespace quire
