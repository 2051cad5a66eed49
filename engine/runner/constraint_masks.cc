#include "engine/runner/constraint_masks.h"

#include <algorithm>
#include <bit>
#include <set>
#include <utility>

#include "kernels/check.h"

namespace quire {
namespace {

constexpr int kWordBits = 32;

bool Allows(std::span<const uint32_t> words, TokenId token) {
  return words[token / kWordBits] >> token % kWordBits & 1;
}

}  // namespace

ConstraintMasks::ConstraintMasks(int vocab_size, std::vector<TokenId> eos_token_ids)
    : num_words_((vocab_size + kWordBits - 1) / kWordBits), eos_token_ids_(std::move(eos_token_ids)) {}

void ConstraintMasks::Fill(const std::vector<LogitRow>& rows, Ops& ops) {
  rows_ = rows;
  mask_of_.clear();
  masks_.clear();
  for (const LogitRow& row : rows) {
    // Rows of one sequence are neighbours.
    if (row.constraint != nullptr && (masks_.empty() || masks_.back().constraint != row.constraint)) {
      masks_.push_back({row.constraint, absl::OkStatus()});
    }
    mask_of_.push_back(row.constraint == nullptr ? kNone : static_cast<int>(masks_.size()) - 1);
  }
  if (words_.size() < masks_.size() * num_words_) words_.resize(masks_.size() * num_words_);
  ops.ForEach(static_cast<int64_t>(masks_.size()), [this](int64_t i, int /*worker*/) {
    const std::span<uint32_t> words = Words(static_cast<int>(i));
    Mask& mask = masks_[i];
    mask.status = mask.constraint->FillMask(words);
    if (mask.status.ok() && std::ranges::all_of(words, [](uint32_t word) { return word == 0; })) {
      mask.status = absl::FailedPreconditionError("the output format has come to a point where nothing can follow");
    }
  });
}

const absl::Status& ConstraintMasks::status(size_t index) const {
  static const absl::Status unconstrained;
  const int mask = mask_of_[index];
  return mask == kNone ? unconstrained : masks_[mask].status;
}

LogitRow ConstraintMasks::Constrained(size_t index) const {
  LogitRow row = rows_[index];
  const int mask = mask_of_[index];
  if (mask == kNone) return row;
  QUIRE_CHECK(masks_[mask].status.ok());
  row.allowed = Words(mask);
  if (row.forbid_stop) row.forbid_stop = AllowsMoreThanStops(mask, row);
  return row;
}

std::span<uint32_t> ConstraintMasks::Words(int mask) {
  return std::span(words_).subspan(mask * num_words_, num_words_);
}

std::span<const uint32_t> ConstraintMasks::Words(int mask) const {
  return std::span(words_).subspan(mask * num_words_, num_words_);
}

bool ConstraintMasks::AllowsMoreThanStops(int mask, const LogitRow& row) const {
  const std::span<const uint32_t> words = Words(mask);
  int num_allowed = 0;
  for (uint32_t word : words) num_allowed += std::popcount(word);
  std::set<TokenId> stops(eos_token_ids_.begin(), eos_token_ids_.end());
  stops.insert(row.params->stop_token_ids.begin(), row.params->stop_token_ids.end());
  return num_allowed > std::ranges::count_if(stops, [&](TokenId token) { return Allows(words, token); });
}

}  // namespace quire
