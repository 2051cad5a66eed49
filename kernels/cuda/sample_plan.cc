#include "kernels/cuda/sample_plan.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/check.h"

namespace quire {
namespace {

constexpr int kSegmentWords = kSegmentLogits / 32;  // Of SampleRow::allowed.

}  // namespace

void SamplePlan::Begin(int num_rows, int vocab_size) {
  QUIRE_CHECK(num_rows >= 0 && vocab_size >= 1 && vocab_size <= kMaxSampleVocab);
  num_rows_ = num_rows;
  num_added_ = 0;
  vocab_size_ = vocab_size;
  bytes_.clear();
  Append<PlannedRow>(num_rows);
}

void SamplePlan::Add(const SampleRow& row) {
  QUIRE_CHECK(num_added_ < num_rows_);
  // Only one token can be left where top_k is 1.
  const bool greedy = row.temperature == 0 || row.top_k == 1;
  PlannedRow planned = {
      .uniform = row.uniform,
      .logits_row = row.logits_row,
      .inverse_temperature = greedy ? 0.0f : std::min(1.0f / row.temperature, std::numeric_limits<float>::max()),
      .min_p_offset = row.min_p > 0 ? row.temperature * std::log(row.min_p) : -std::numeric_limits<float>::infinity(),
      .top_p = row.top_p,
      .top_k = row.top_k < vocab_size_ ? row.top_k : 0,
      .repetition_penalty = row.repetition_penalty,
      .presence_penalty = row.presence_penalty,
      .frequency_penalty = row.frequency_penalty,
      .adjustments = 0,
      .adjustment_indptr = 0,
      .allowed = 0,
  };
  if (!row.adjustments.empty()) AddAdjustments(row.adjustments, planned);
  if (!row.allowed.empty()) {
    QUIRE_CHECK(row.allowed.size() == static_cast<size_t>((vocab_size_ + 31) / 32));
    planned.allowed = Append<uint32_t>(NumSegments(vocab_size_) * kSegmentWords);
    std::ranges::copy(row.allowed, At<uint32_t>(planned.allowed));
  }
  At<PlannedRow>(0)[num_added_++] = planned;
}

std::span<const std::byte> SamplePlan::bytes() const {
  QUIRE_CHECK(num_added_ == num_rows_);
  return bytes_;
}

template <typename T>
uint32_t SamplePlan::Append(int64_t count) {
  static_assert(alignof(T) <= alignof(PlannedRow) && sizeof(PlannedRow) % alignof(PlannedRow) == 0);
  const size_t offset = (bytes_.size() + alignof(T) - 1) / alignof(T) * alignof(T);
  const size_t size = offset + count * sizeof(T);
  QUIRE_CHECK(size <= std::numeric_limits<uint32_t>::max());
  bytes_.resize(size);
  return static_cast<uint32_t>(offset);
}

// Sorted by counting: a segment's end is found first and becomes its beginning as its adjustments are put in.
void SamplePlan::AddAdjustments(std::span<const TokenAdjustment> adjustments, PlannedRow& planned) {
  const int num_segments = NumSegments(vocab_size_);
  planned.adjustments = Append<TokenAdjustment>(static_cast<int64_t>(adjustments.size()));
  planned.adjustment_indptr = Append<int32_t>(num_segments + 1);
  auto* const indptr = At<int32_t>(planned.adjustment_indptr);
  for (const TokenAdjustment& adjustment : adjustments) {
    QUIRE_CHECK(adjustment.token >= 0 && adjustment.token < vocab_size_);
    ++indptr[adjustment.token / kSegmentLogits];
  }
  for (int segment = 0; segment < num_segments; ++segment) indptr[segment + 1] += indptr[segment];
  auto* const sorted = At<TokenAdjustment>(planned.adjustments);
  for (const TokenAdjustment& adjustment : adjustments) {
    sorted[--indptr[adjustment.token / kSegmentLogits]] = adjustment;
  }
}

}  // namespace quire
