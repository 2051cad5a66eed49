#include "tests/fakes/fake_constraint.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/types/sequence.h"

namespace quire {

FakeConstraint::FakeConstraint(uint64_t key, int vocab_size, std::vector<TokenId> end_tokens, int max_tokens)
    : state_(key), vocab_size_(vocab_size), end_tokens_(std::move(end_tokens)), num_left_(max_tokens) {}

bool FakeConstraint::IsEnd(TokenId token) const {
  return std::find(end_tokens_.begin(), end_tokens_.end(), token) != end_tokens_.end();
}

bool FakeConstraint::Allows(TokenId token) const {
  if (IsEnd(token)) return num_left_ == 0 || state_ % 4 == 0;
  // One in three, and always one, so that there is a way on.
  const auto always = static_cast<TokenId>(state_ % static_cast<uint64_t>(vocab_size_));
  const bool no_other = IsEnd(always);
  return num_left_ > 0 && (token == always || no_other || SampleSeed(state_, token + 1) % 3 == 0);
}

absl::Status FakeConstraint::FillMask(std::span<uint32_t> allowed) {
  std::ranges::fill(allowed, 0);
  for (TokenId token = 0; token < vocab_size_; ++token) {
    if (Allows(token)) allowed[token / 32] |= uint32_t{1} << token % 32;
  }
  return absl::OkStatus();
}

absl::Status FakeConstraint::Accept(TokenId token) {
  if (ended_ || !Allows(token)) return absl::InternalError(absl::StrCat("token ", token, " is not allowed here"));
  state_ = SampleSeed(state_, token + 1);
  if (!IsEnd(token)) --num_left_;
  ended_ = IsEnd(token) || (num_left_ == 0 && end_tokens_.empty());
  return absl::OkStatus();
}

}  // namespace quire
