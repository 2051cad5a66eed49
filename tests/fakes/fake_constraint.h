// A constraint that follows from a key: which tokens may come next is a hash of the key and of what came before. An
// output that skips, repeats or foreign tokens breaks it at once.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/sampling/token_constraint.h"

namespace quire {

class FakeConstraint : public TokenConstraint {
 public:
  // Outputs are complete after at most `max_tokens` tokens, an end token not counted, and where there are no end tokens
  // after exactly that many.
  FakeConstraint(uint64_t key, int vocab_size, std::vector<TokenId> end_tokens, int max_tokens);

  std::unique_ptr<TokenConstraint> Clone() const override { return std::make_unique<FakeConstraint>(*this); }
  absl::Status FillMask(std::span<uint32_t> allowed) override;
  absl::Status Accept(TokenId token) override;
  bool ended() const override { return ended_; }

 private:
  bool IsEnd(TokenId token) const;
  bool Allows(TokenId token) const;

  uint64_t state_;
  const int vocab_size_;
  const std::vector<TokenId> end_tokens_;
  int num_left_;
  bool ended_ = false;
};

}  // namespace quire
