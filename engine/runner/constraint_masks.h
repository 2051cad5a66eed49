// ConstraintMasks: asks the constraints of a step's rows which tokens they allow.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "engine/runner/batch.h"
#include "kernels/ops.h"

namespace quire {

// Not thread-safe. Steady use allocates nothing; steps without constraints cost nothing.
class ConstraintMasks {
 public:
  ConstraintMasks(int vocab_size, std::vector<TokenId> eos_token_ids);

  // Asks each constraint once, on the host's workers. Samples of one prompt have the same one until they part.
  // `rows` must stay as they are until the next call.
  void Fill(const std::vector<LogitRow>& rows, Ops& ops);

  // Of rows[index]: an error where its constraint failed, or FAILED_PRECONDITION where it allows nothing.
  const absl::Status& status(size_t index) const;
  // rows[index] with `allowed` set. Where only stop tokens are allowed they are not forbidden: an answer that is
  // complete is not made longer by min_tokens. REQUIRES: status(index) is OK.
  LogitRow Constrained(size_t index) const;

 private:
  static constexpr int kNone = -1;

  struct Mask {
    TokenConstraint* constraint = nullptr;
    absl::Status status;
  };

  std::span<uint32_t> Words(int mask);
  std::span<const uint32_t> Words(int mask) const;
  bool AllowsMoreThanStops(int mask, const LogitRow& row) const;

  const size_t num_words_;
  const std::vector<TokenId> eos_token_ids_;
  std::span<const LogitRow> rows_;
  std::vector<int> mask_of_;  // Of each row: into masks_, or kNone.
  std::vector<Mask> masks_;
  std::vector<uint32_t> words_;  // num_words_ of each mask.
};

}  // namespace quire
