// GrammarConstraint: a TokenConstraint that follows a compiled grammar.
#pragma once

#include <xgrammar/matcher.h>

#include <memory>

#include "absl/status/statusor.h"
#include "engine/sampling/token_constraint.h"
#include "server/grammar/work_budget.h"

namespace quire {

// Each call may take a bounded time, and each sample's state a bounded memory: a grammar so ambiguous that it takes
// more ends its own request with RESOURCE_EXHAUSTED.
class GrammarConstraint : public TokenConstraint {
 public:
  // Before the first token. Throws what xgrammar throws.
  explicit GrammarConstraint(const xgrammar::CompiledGrammar& grammar);

  std::unique_ptr<TokenConstraint> Clone() const override;
  absl::Status FillMask(std::span<uint32_t> allowed) override;
  absl::Status Accept(TokenId token) override;
  bool ended() const override { return matcher_.IsTerminated(); }

 private:
  GrammarConstraint(xgrammar::GrammarMatcher matcher, int vocab_size);

  template <typename Call>
  absl::Status Bounded(const Call& call);

  xgrammar::GrammarMatcher matcher_;
  const int vocab_size_;
  WorkBudget budget_;
};

}  // namespace quire
