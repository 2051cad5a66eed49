// SamplePlan: what the rows of a step ask for, packed into one block of bytes, so that one copy takes it to the device.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/sampling.h"

namespace quire {

// Rows of logits are worked on in segments of this many tokens; the last may be shorter.
inline constexpr int kSegmentLogits = 256;
inline constexpr int kMaxSampleVocab = 262144;

constexpr int NumSegments(int vocab_size) { return (vocab_size + kSegmentLogits - 1) / kSegmentLogits; }

// A SampleRow as kernels read it. A plan begins with these, one for each row. Offsets are in bytes from the plan's
// first, 0 for none.
struct PlannedRow {
  double uniform;
  int32_t logits_row;
  float inverse_temperature;  // At most the largest float; 0: greedy.
  float min_p_offset;         // Logits below the row's largest plus this are dropped; -infinity: none.
  float top_p;                // At least 1: none.
  int32_t top_k;              // Below vocab_size; 0: none.
  float repetition_penalty;
  float presence_penalty;
  float frequency_penalty;
  uint32_t adjustments;        // TokenAdjustments by segment, in no order within one,
  uint32_t adjustment_indptr;  // where those of each segment begin, int32 [segments + 1],
  uint32_t allowed;            // and SampleRow::allowed, up to the end of the last segment.
};

// Not thread-safe. Allocates nothing for a step no larger than one before it.
class SamplePlan {
 public:
  // Forgets what was planned. REQUIRES: 1 <= vocab_size <= kMaxSampleVocab; tokens of all rows are below it.
  void Begin(int num_rows, int vocab_size);
  // Rows in order. What the row refers to is copied. REQUIRES: no more of them than Begin was told.
  void Add(const SampleRow& row);

  int num_rows() const { return num_rows_; }
  int vocab_size() const { return vocab_size_; }
  // Valid until the next Begin. REQUIRES: all rows have been added.
  std::span<const std::byte> bytes() const;

 private:
  // Room for `count` elements of T at the end of the block, zeroed; its offset.
  template <typename T>
  uint32_t Append(int64_t count);
  template <typename T>
  T* At(uint32_t offset) {
    return reinterpret_cast<T*>(bytes_.data() + offset);
  }
  void AddAdjustments(std::span<const TokenAdjustment> adjustments, PlannedRow& planned);

  int num_rows_ = 0;
  int num_added_ = 0;
  int vocab_size_ = 0;
  std::vector<std::byte> bytes_;
};

}  // namespace quire
