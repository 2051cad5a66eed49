// The second half of sampling: chooses a row's token, with a block of its own, of up to kMaxChoiceWarps warps: sums are
// exact, so that their number makes no difference. See sample.h.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/sample_segment.cuh"
#include "kernels/sampling.h"

namespace quire {

constexpr int kMaxChoiceWarps = 16;
constexpr int kDigitBits = 8;
constexpr int kNumDigits = 1 << kDigitBits;

// What is kept: tokens whose logit's ordered bits exceed `bits`, and of those that have just these the first `equals`
// by id.
struct Cut {
  uint32_t bits = kLowestBits;
  uint64_t equals = kMaxSampleVocab;
};

// The first of some amounts, laid end to end, that ends after a point: its index, where it begins, how long it is.
struct Crossing {
  int index;
  uint64_t point;
  uint64_t begin;
  uint64_t amount;
};

// What the threads of a block share. By segment: `best` are the ordered bits of its best logit, or 0 where no more than
// its mass is of interest; `masses` and `equals` say what the cut keeps of it, the latter how many whose bits are the
// cut's.
struct ChoiceShared {
  Mass masses[kMaxSegments];
  uint32_t equals[kMaxSegments];
  uint32_t best[kMaxSegments];
  uint32_t bins_low[kNumDigits];   // A sum for each digit, the largest digit's first, in two words: each is added to
  uint32_t bins_high[kNumDigits];  // atomically.
  uint64_t of_warps[kMaxChoiceWarps];
  Crossing crossing;
  Crossing drawn;  // A token, within its segment.
  float exchange[kMaxChoiceWarps][kSegmentLogits];
};

// Writes the first amount that ends after target(total) <= total - 1 to `crossing` in shared memory, for all to see
// after the next barrier. REQUIRES: an amount is positive. Warp collective.
template <typename AmountAt, typename Target>
__device__ void FindCrossing(int count, const AmountAt& amount_at, const Target& target, Crossing& crossing) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  const int per_lane = (count + kWarpSize - 1) / kWarpSize;
  const int first = min(lane * per_lane, count);
  const int last = min(first + per_lane, count);
  uint64_t own = 0;
  for (int i = first; i < last; ++i) own += amount_at(i);
  const uint64_t through = SumThroughLane(own);
  const uint64_t point = target(Shuffle(through, kWarpSize - 1));
  uint64_t begin = through - own;
  if (begin > point || through <= point) return;  // No barrier or collective follows.
  int index = first;
  uint64_t amount = amount_at(index);
  while (begin + amount <= point) {
    begin += amount;
    amount = amount_at(++index);
  }
  crossing = {index, point, begin, amount};
}

// The point for a draw.
struct DrawnPoint {
  double uniform;  // In [0, 1].
  __device__ uint64_t operator()(uint64_t total) const {
    const auto point = static_cast<uint64_t>(uniform * static_cast<double>(total));
    return point < total ? point : total - 1;
  }
};

// Adds to the bins; consecutive amounts for one digit, frequent among the leading ones, are added to its bin at once.
class BinWriter {
 public:
  __device__ BinWriter(ChoiceShared& shared) : shared_(shared) {}
  __device__ void Add(uint32_t digit, uint64_t amount) {
    if (digit != digit_) Flush();
    digit_ = digit;
    amount_ += amount;
  }
  __device__ void Flush() {
    if (amount_ == 0) return;
    const uint32_t bin = kNumDigits - 1 - digit_;
    const auto low = static_cast<uint32_t>(amount_);
    const uint32_t old = atomicAdd(&shared_.bins_low[bin], low);
    const uint32_t carry = old + low < old ? 1 : 0;
    const uint32_t high = static_cast<uint32_t>(amount_ >> 32) + carry;
    if (high != 0) atomicAdd(&shared_.bins_high[bin], high);
    amount_ = 0;
  }

 private:
  ChoiceShared& shared_;
  uint32_t digit_ = 0;
  uint64_t amount_ = 0;
};

// All threads of the block call its functions together, where nothing else is said.
class TokenChooser {
 public:
  __device__ TokenChooser(const PlannedRowView& row, const SegmentSummary* summaries, ChoiceShared& shared)
      : row_(row), num_segments_(row.num_segments), summaries_(summaries), shared_(shared) {}

  // What thread 0 gets is the row's result.
  __device__ SampledRow Choose() {
    Summarize();
    SampledRow out;
    out.ok = IsFinite(maximum_) && IsFinite(best_);
    if (!out.ok) return out;
    const double total = static_cast<double>(SumOverSegments([this](int segment) {
      return ToMass(__fmul_rn(summaries_[segment].sum, Weight(summaries_[segment].maximum, maximum_, 1)));
    }));
    out.token = row_.planned.inverse_temperature == 0 ? best_token_ : Draw();
    if (threadIdx.x == 0) {
      const double log_total = log(total / kMassOfOne);
      out.logprob = static_cast<float>(row_.logits[out.token] - maximum_ - log_total);
    }
    return out;
  }

 private:
  // Fills in the maximum of the row, its best token, and what is shared of each segment.
  __device__ void Summarize() {
    uint64_t maximum = 0, best = 0;
    for (int segment = Thread(); segment < num_segments_; segment += NumThreads()) {
      const SegmentSummary& summary = summaries_[segment];
      maximum = Larger(maximum, uint64_t{OrderedBits(summary.maximum)});
      // Of equal logits the one with the lower token is larger.
      best = Larger(best, uint64_t{OrderedBits(summary.best)} << 32 | ~static_cast<uint32_t>(summary.best_token));
      shared_.best[segment] = OrderedBits(summary.best);
    }
    const auto larger = [](uint64_t a, uint64_t b) { return Larger(a, b); };
    maximum_ = FromOrderedBits(static_cast<uint32_t>(CombineBlock(maximum, larger)));
    best = CombineBlock(best, larger);
    best_ = FromOrderedBits(static_cast<uint32_t>(best >> 32));
    best_token_ = static_cast<int32_t>(~static_cast<uint32_t>(best));
  }

  __device__ int32_t Draw() {
    for (int i = Thread(); i < kNumDigits; i += NumThreads()) shared_.bins_low[i] = shared_.bins_high[i] = 0;
    for (int segment = Thread(); segment < num_segments_; segment += NumThreads()) {
      const SegmentSummary& summary = summaries_[segment];
      shared_.masses[segment] = ToMass(__fmul_rn(summary.weight, WeightOf(summary.best)));
      shared_.equals[segment] = kSegmentLogits;
    }
    SyncBlock();
    const PlannedRow& planned = row_.planned;
    Cut cut;
    cut.bits = Larger(cut.bits, OrderedBits(__fadd_rn(best_, planned.min_p_offset)));
    if (planned.top_k > 0) cut = KeepLikeliest(cut, planned.top_k);
    const bool is_part = cut.bits > kLowestBits || cut.equals < kMaxSampleVocab;
    if (is_part) Weigh(cut);
    if (planned.top_p < 1) {
      const Cut nucleus = KeepNucleus(cut, is_part);
      if (nucleus.bits != cut.bits || nucleus.equals != cut.equals) Weigh(nucleus);
      cut = nucleus;
    }
    return DrawToken(cut);
  }

  // The `count` likeliest of what `cut` keeps. That many segments have a token no less likely than the last of their
  // best ones, so that segments without one can be left aside.
  __device__ Cut KeepLikeliest(const Cut& cut, int count) {
    const auto one = [](uint32_t) { return uint64_t{1}; };
    Cut floor = cut;
    if (count < num_segments_) {
      const auto for_each_best = [&](const auto& visit) {
        for (int segment = Thread(); segment < num_segments_; segment += NumThreads()) {
          if (shared_.best[segment] >= cut.bits) visit(shared_.best[segment]);
        }
      };
      floor.bits = Select(for_each_best, cut, one, count).bits;
    }
    const auto for_each = [&](const auto& visit) { ForEachCandidate(floor.bits, visit); };
    return Select(for_each, cut, one, count);
  }

  // The fewest, likeliest first, of what `cut` keeps that make up top_p of its mass.
  __device__ Cut KeepNucleus(const Cut& cut, bool is_part) {
    const Mass total = SumOverSegments([this](int segment) { return shared_.masses[segment]; });
    const double share = ceil(static_cast<double>(row_.planned.top_p) * static_cast<double>(total));
    const Mass wanted = Smaller(Larger(static_cast<Mass>(share), Mass{1}), total);
    if (!is_part) {
      // Tokens of at most this mass together make up less than top_p leaves out; half is for rounding.
      const Mass negligible = (total - wanted) / row_.vocab_size / 2;
      for (int segment = Thread(); segment < num_segments_; segment += NumThreads()) {
        if (ToMass(WeightOf(summaries_[segment].best)) <= negligible) shared_.best[segment] = 0;
      }
      SyncBlock();
    }
    const auto for_each = [&](const auto& visit) { ForEachCandidate(cut.bits, visit); };
    return Select(
        for_each, cut, [this](uint32_t bits) { return MassOf(bits); }, wanted);
  }

  // Draws a segment, then one of its tokens in proportion to their weights.
  __device__ int32_t DrawToken(const Cut& cut) {
    const auto mass_at = [this](int i) { return shared_.masses[i]; };
    const Crossing crossing = FindCrossingInBlock(num_segments_, mass_at, DrawnPoint{row_.planned.uniform});
    const int segment = crossing.index;
    if (Warp() == 0) {
      // The whole mass of the segment may have been rounded otherwise than its tokens'.
      const DrawnPoint point = {(static_cast<double>(crossing.point - crossing.begin) + 0.5) /
                                static_cast<double>(crossing.amount)};
      KeepInSegment(cut, segment);
      FindCrossing(kSegmentLogits, mass_at, point, shared_.drawn);
    }
    SyncBlock();
    return segment * kSegmentLogits + shared_.drawn.index;
  }

  // shared_.masses become those of the segment's tokens that the cut keeps, against its best one: far below the row's
  // maximum tokens have no mass of their own. Called by the first warp. Warp collective.
  __device__ void KeepInSegment(const Cut& cut, int segment) {
    const SegmentLogits logits = Load(segment);
    const float best = summaries_[segment].best;
    uint32_t num_equal = 0;
#pragma unroll
    for (int i = 0; i < kLogitsPerLane; ++i) {
      const uint32_t bits = OrderedBits(logits.values[i]);
      const unsigned equal = Ballot(bits == cut.bits);
      const uint32_t rank = num_equal + __popc(equal & ((1u << Lane()) - 1));
      const bool kept = bits > cut.bits || (bits == cut.bits && rank < shared_.equals[segment]);
      shared_.masses[i * kWarpSize + Lane()] =
          kept ? ToMass(Weight(logits.values[i], best, row_.planned.inverse_temperature)) : 0;
      num_equal += __popc(equal);
    }
    SyncWarp();
  }

  // Fills in masses and equals of every segment for a cut.
  __device__ void Weigh(const Cut& cut) {
    for (int segment = Warp(); segment < num_segments_; segment += NumWarps()) {
      Mass above = 0;
      unsigned equal = 0;
      if (shared_.best[segment] >= cut.bits) {
        const SegmentLogits logits = Load(segment);
#pragma unroll
        for (int i = 0; i < kLogitsPerLane; ++i) {
          const uint32_t bits = OrderedBits(logits.values[i]);
          if (bits > cut.bits) above += ToMass(WeightOf(logits.values[i]));
          if (bits == cut.bits) ++equal;
        }
        above = SumOfWarp(above);
        equal = SumOfWarp(equal);
      }
      if (Lane() == 0) {
        shared_.masses[segment] = above;
        shared_.equals[segment] = equal;
      }
    }
    SyncBlock();
    if (Warp() == 0) ShareOutEquals(cut);
    SyncBlock();
  }

  // Leaves the cut its equals, lower ids first. Called by the first warp. Warp collective.
  __device__ void ShareOutEquals(const Cut& cut) {
    const Mass mass = MassOf(cut.bits);
    uint64_t before = 0;  // In segments before those of this round.
    for (int first = 0; first < num_segments_; first += kWarpSize) {
      const int segment = first + Lane();
      const uint64_t own = segment < num_segments_ ? shared_.equals[segment] : 0;
      const uint64_t through = SumThroughLane(own);
      const uint64_t skipped = before + through - own;
      const uint64_t kept = cut.equals > skipped ? Smaller(own, cut.equals - skipped) : 0;
      if (segment < num_segments_) {
        shared_.equals[segment] = static_cast<uint32_t>(kept);
        shared_.masses[segment] += kept * mass;
      }
      before += Shuffle(through, kWarpSize - 1);
    }
  }

  // The fewest of the tokens that for_each visits, likeliest first, whose amounts together reach `wanted`; `cut` where
  // all do not. for_each(visit) calls visit(ordered bits) for tokens that `cut` keeps and maybe for more of its equals.
  // An amount is a function of the bits.
  template <typename ForEach, typename Amount>
  __device__ Cut Select(const ForEach& for_each, const Cut& cut, const Amount& amount, uint64_t wanted) {
    uint32_t leading = 0;  // Digits found so far.
    for (int shift = 32 - kDigitBits; shift >= 0; shift -= kDigitBits) {
      BinWriter bins(shared_);
      for_each([&](uint32_t bits) {
        if (uint64_t{bits ^ leading} >> (shift + kDigitBits) != 0) return;
        bins.Add(bits >> shift & (kNumDigits - 1), amount(bits));
      });
      bins.Flush();
      const auto amount_of_bin = [this](int i) { return uint64_t{shared_.bins_high[i]} << 32 | shared_.bins_low[i]; };
      const auto target = [&](uint64_t total) { return Smaller(wanted, total) - 1; };
      const Crossing crossing = FindCrossingInBlock(kNumDigits, amount_of_bin, target);
      for (int i = Thread(); i < kNumDigits; i += NumThreads()) shared_.bins_low[i] = shared_.bins_high[i] = 0;
      SyncBlock();
      if (crossing.point != wanted - 1) return cut;
      leading |= static_cast<uint32_t>(kNumDigits - 1 - crossing.index) << shift;
      wanted -= crossing.begin;
    }
    const uint64_t of_one = amount(leading);
    return {leading, (wanted + of_one - 1) / of_one};
  }

  // Calls visit(ordered bits) for every token whose bits are at least `lowest`, but for segments left aside.
  template <typename Visit>
  __device__ void ForEachCandidate(uint32_t lowest, const Visit& visit) {
    for (int segment = Warp(); segment < num_segments_; segment += NumWarps()) {
      if (shared_.best[segment] < lowest) continue;
      const SegmentLogits logits = Load(segment);
#pragma unroll
      for (int i = 0; i < kLogitsPerLane; ++i) {
        const uint32_t bits = OrderedBits(logits.values[i]);
        if (bits >= lowest) visit(bits);
      }
    }
  }

  // FindCrossing for the block.
  template <typename AmountAt, typename Target>
  __device__ Crossing FindCrossingInBlock(int count, const AmountAt& amount_at, const Target& target) {
    SyncBlock();
    if (Warp() == 0) FindCrossing(count, amount_at, target, shared_.crossing);
    SyncBlock();
    return shared_.crossing;
  }

  template <typename AmountOf>
  __device__ uint64_t SumOverSegments(const AmountOf& amount_of) {
    uint64_t sum = 0;
    for (int segment = Thread(); segment < num_segments_; segment += NumThreads()) sum += amount_of(segment);
    return CombineBlock(sum, [](uint64_t a, uint64_t b) { return a + b; });
  }

  // CombineWarp for the block; 0 is neutral.
  template <typename Combine>
  __device__ uint64_t CombineBlock(uint64_t x, const Combine& combine) {
    x = CombineWarp(x, combine);
    SyncBlock();
    if (Lane() == 0) shared_.of_warps[Warp()] = x;
    SyncBlock();
    uint64_t combined = 0;
    for (int warp = 0; warp < NumWarps(); ++warp) combined = combine(combined, shared_.of_warps[warp]);
    return combined;
  }

  __device__ SegmentLogits Load(int segment) {
    SegmentLogits logits = LoadSegment(row_, segment);
    AdjustSegment(row_, segment, shared_.exchange[Warp()], logits);
    return logits;
  }

  __device__ float WeightOf(float logit) const { return Weight(logit, best_, row_.planned.inverse_temperature); }
  __device__ Mass MassOf(uint32_t bits) const { return ToMass(WeightOf(FromOrderedBits(bits))); }

  __device__ static int NumThreads() { return static_cast<int>(blockDim.x); }
  __device__ static int NumWarps() { return NumThreads() / kWarpSize; }
  __device__ static int Thread() { return static_cast<int>(threadIdx.x); }
  __device__ static int Warp() { return Thread() / kWarpSize; }
  __device__ static int Lane() { return Thread() % kWarpSize; }

  const PlannedRowView row_;
  const int num_segments_;
  const SegmentSummary* const summaries_;
  ChoiceShared& shared_;
  float maximum_ = 0;       // Of the logits before adjustments.
  float best_ = 0;          // Of those after.
  int32_t best_token_ = 0;  // The lowest that has it.
};

}  // namespace quire
