// TokenConstraint: which tokens may come next in an output of a prescribed form. The engine knows neither grammars nor
// schemas; whoever compiles them implements this.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "absl/status/status.h"
#include "block_manager/ids.h"

namespace quire {

// The state of one sample: a function of the tokens that it has accepted, and of nothing else. Calls on one object come
// one at a time, from any thread; const ones, and calls on objects cloned from each other, may run beside each other.
class TokenConstraint {
 public:
  virtual ~TokenConstraint() = default;

  // Another sample that has the same output so far.
  virtual std::unique_ptr<TokenConstraint> Clone() const = 0;

  // Sets bit t % 32 of word t / 32 where token t may come next, and clears all others. End tokens are among them where
  // the output may end. REQUIRES: one bit for each token of the vocabulary, rounded up to words; not ended().
  // An error ends the request: RESOURCE_EXHAUSTED when the answer costs more than the constraint's budget.
  virtual absl::Status FillMask(std::span<uint32_t> allowed) = 0;

  // The output goes on with `token`. INTERNAL if FillMask would not have allowed it; errors as above.
  virtual absl::Status Accept(TokenId token) = 0;

  // The output is complete: nothing can follow.
  virtual bool ended() const = 0;
};

}  // namespace quire
