#include "kernels/cpu/kv_writer.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <functional>
#include <limits>
#include <utility>

#include "kernels/bfloat16.h"
#include "kernels/check.h"
#include "kernels/cpu/kv_rotation.h"

namespace quire {
namespace {

// K or V of one token and head, as numbers of its block's type, one after the other.
struct StoredHead {
  union {
    uint16_t bfloat16s[kMaxHeadDim];
    uint8_t codes[kMaxHeadDim];
  };
  float scale;
  float middle;  // Of int4.
};

// From one unit of a token's key to the next, and from a token's element to the next one in a block of V.
constexpr int kKeyStep = kKvBlockTokens * 4, kValueStep = 4;

constexpr int32_t kInfinityBits = 0x7f800000;

void StoreBFloat16(std::span<const float> head, StoredHead& stored) {
  for (size_t i = 0; i < head.size(); ++i) stored.bfloat16s[i] = ToBFloat16(head[i]);
}

// Where an element is not finite the scale is NaN, so that whoever reads the token gets NaN.
void StoreInt8(std::span<const float> head, StoredHead& stored) {
  int32_t max_bits = 0;
  for (const float x : head) max_bits = std::max(max_bits, std::bit_cast<int32_t>(x) & 0x7fffffff);
  if (max_bits >= kInfinityBits) {
    stored.scale = std::numeric_limits<float>::quiet_NaN();
    std::fill_n(stored.codes, head.size(), uint8_t{kInt8KvCentre});
    return;
  }
  const auto max = std::bit_cast<float>(max_bits);
  // The reciprocal of what is smaller would overflow; such a head counts as zeros.
  const float inverse = max > 1e-33f ? 127 / max : 0;
  stored.scale = max / 127;
  for (size_t i = 0; i < head.size(); ++i) {
    stored.codes[i] = static_cast<uint8_t>(static_cast<int>(head[i] * inverse + (kInt8KvCentre + 0.5f)));
  }
}

float RoundToBFloat16(float x) { return FromBFloat16(ToBFloat16(x)); }

// Four numbers, in a vector of whatever instruction set there is. gcc finds none by itself where a choice is followed
// by a conversion, and no compiler may add in another order than the one written. Nothing is fused, so that all sets
// make the same bits.
constexpr int kLanes = 4;
using Floats [[gnu::vector_size(4 * kLanes)]] = float;
using Ints [[gnu::vector_size(4 * kLanes)]] = int32_t;

Floats Load(const float* p) {
  Floats x;
  std::memcpy(&x, p, sizeof(x));
  return x;
}

template <typename Vector>
void Store(Vector x, void* p) {
  std::memcpy(p, &x, sizeof(x));
}

float SumOf(Floats x) { return (x[0] + x[1]) + (x[2] + x[3]); }

// The least and the greatest element; NaN if one is not finite.
std::pair<float, float> RangeOf(std::span<const float> head) {
  Floats min = Load(head.data()), max = min;
  Ints not_finite = {};
  for (size_t i = 0; i < head.size(); i += kLanes) {
    const Floats x = Load(head.data() + i);
    min = x < min ? x : min;
    max = x > max ? x : max;
    not_finite |= (std::bit_cast<Ints>(x) & 0x7fffffff) >= kInfinityBits;
  }
  if ((not_finite[0] | not_finite[1] | not_finite[2] | not_finite[3]) != 0) {
    constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
    return {kNaN, kNaN};
  }
  return {std::min({min[0], min[1], min[2], min[3]}), std::max({max[0], max[1], max[2], max[3]})};
}

// By integer in [-128, 127] + 128: the code of int4 whose level is nearest to it, the lower one of two.
constexpr std::array<uint8_t, 256> kNearestCodes = [] {
  std::array<uint8_t, 256> codes = {};
  for (int i = 0; i < 256; ++i) {
    const auto distance = [i](int code) {
      const int d = i - kInt8KvCentre - kInt4KvLevels[code];
      return d < 0 ? -d : d;
    };
    for (int code = 1; code < 16; ++code) {
      if (distance(code) < distance(codes[i])) codes[i] = static_cast<uint8_t>(code);
    }
  }
  return codes;
}();

// The nearest codes of int4, for the scale and the middle that `stored` has.
void ChooseCodes(std::span<const float> head, StoredHead& stored) {
  const float inverse = stored.scale > 1e-33f ? 1 / stored.scale : 0;
  int32_t integers[kMaxHeadDim];
  for (size_t i = 0; i < head.size(); i += kLanes) {
    const Floats x = (Load(head.data() + i) - stored.middle) * inverse + (kInt8KvCentre + 0.5f);
    const Floats not_below = x > 0.0f ? x : Floats{};
    constexpr Floats kMax = {255, 255, 255, 255};
    Store(__builtin_convertvector(not_below < kMax ? not_below : kMax, Ints), integers + i);
  }
  for (size_t i = 0; i < head.size(); ++i) stored.codes[i] = kNearestCodes[integers[i]];
}

// The scale and the middle with the least squared error for the codes as they are.
void FitScale(std::span<const float> head, StoredHead& stored) {
  float levels[kMaxHeadDim];
  for (size_t i = 0; i < head.size(); ++i) levels[i] = static_cast<float>(kInt4KvLevels[stored.codes[i]]);
  Floats sums = {}, products = {};
  Floats level_sums = {}, square_sums = {};  // Whole and small: exact.
  for (size_t i = 0; i < head.size(); i += kLanes) {
    const Floats x = Load(head.data() + i), level = Load(levels + i);
    sums += x;
    products += x * level;
    level_sums += level;
    square_sums += level * level;
  }
  const auto count = static_cast<float>(head.size());
  const float sum = SumOf(sums), level_sum = SumOf(level_sums);
  const float mean_level = level_sum / count;
  const float variance = SumOf(square_sums) - mean_level * level_sum;
  const float covariance = SumOf(products) - mean_level * sum;
  if (!(variance > 0 && covariance > 0)) return;
  stored.scale = RoundToBFloat16(covariance / variance);
  stored.middle = RoundToBFloat16(sum / count - stored.scale * mean_level);
}

// Where an element is not finite, or the sum or the difference of some overflows, the scale is NaN as for int8. Codes
// are chosen for the scale and the middle as they are kept, so that these may be coarse.
void StoreInt4(std::span<const float> head, StoredHead& stored) {
  const auto [min, max] = RangeOf(head);
  // The outermost elements are few: to come a little short of them makes the steps smaller for all.
  constexpr float kShareOfRange = 0.95f;
  constexpr int kFits = 2;  // A third one would gain a hundredth.
  stored.middle = RoundToBFloat16((min + max) * 0.5f);
  stored.scale = RoundToBFloat16((max - min) * (0.5f * kShareOfRange / kInt4KvLevels[15]));
  const auto is_finite = [&] { return std::isfinite(stored.scale) && std::isfinite(stored.middle); };
  for (int i = 0; is_finite() && i <= kFits; ++i) {
    if (i > 0) FitScale(head, stored);
    if (is_finite()) ChooseCodes(head, stored);
  }
  if (is_finite()) return;
  stored.scale = std::numeric_limits<float>::quiet_NaN();
  stored.middle = 0;
  std::fill_n(stored.codes, head.size(), uint8_t{0});
}

void StoreHead(const KvBlockLayout& block, std::span<const float> head, StoredHead& stored) {
  switch (block.dtype) {
    case KvDType::kF32:
    case KvDType::kFp8:
      QUIRE_CHECK(false);
      break;
    case KvDType::kBF16:
      return StoreBFloat16(head, stored);
    case KvDType::kInt8:
      return StoreInt8(head, stored);
    case KvDType::kInt4:
      return StoreInt4(head, stored);
  }
}

void PlaceScales(const KvBlockLayout& block, int token, const StoredHead& stored, std::byte* to) {
  if (block.dtype == KvDType::kInt8) std::memcpy(to + block.ScaleOffset(token), &stored.scale, sizeof(stored.scale));
  if (!block.has_middles()) return;
  const uint16_t scale = ToBFloat16(stored.scale), middle = ToBFloat16(stored.middle);
  std::memcpy(to + block.ScaleOffset(token), &scale, sizeof(scale));
  std::memcpy(to + block.MiddleOffset(token), &middle, sizeof(middle));
}

void PlaceKey(const KvBlockLayout& block, int token, const StoredHead& stored, std::byte* keys) {
  std::byte* unit = keys + block.KeyOffset(token, 0);
  if (block.dtype == KvDType::kInt4) {
    for (int dim = 0; dim < block.head_dim; dim += 8, unit += kKeyStep) {
      uint32_t low, high;
      std::memcpy(&low, stored.codes + dim, sizeof(low));
      std::memcpy(&high, stored.codes + dim + 4, sizeof(high));
      const uint32_t both = low | high << 4;
      std::memcpy(unit, &both, sizeof(both));
    }
  } else {
    const uint8_t* from = stored.codes;
    const uint8_t* const end = from + block.head_dim * block.element_bits() / 8;
    for (; from != end; from += 4, unit += kKeyStep) std::memcpy(unit, from, 4);
  }
  PlaceScales(block, token, stored, keys);
}

void PlaceValue(const KvBlockLayout& block, int token, const StoredHead& stored, std::byte* values) {
  std::byte* to = values + block.ValueOffset(token, 0);
  switch (block.dtype) {
    case KvDType::kF32:
    case KvDType::kFp8:
      QUIRE_CHECK(false);
      break;
    case KvDType::kBF16:
      for (int dim = 0; dim < block.head_dim; ++dim) std::memcpy(to + kValueStep * dim, stored.bfloat16s + dim, 2);
      break;
    case KvDType::kInt8:
      for (int dim = 0; dim < block.head_dim; ++dim) to[kValueStep * dim] = std::byte{stored.codes[dim]};
      break;
    case KvDType::kInt4:
      for (int dim = 0; dim < block.head_dim; dim += kInt4KvDims) {
        const uint8_t* codes = stored.codes + dim;
        for (int i = 0; i < kInt4KvDims / 2; ++i, to += kValueStep) {
          *to = static_cast<std::byte>(codes[i] | codes[i + kInt4KvDims / 2] << 4);
        }
      }
      break;
  }
  PlaceScales(block, token, stored, values);
}

// The head rotated, in `rotated`.
std::span<const float> Rotate(std::span<const float> head, std::array<float, kMaxHeadDim>& rotated) {
  std::ranges::copy(head, rotated.begin());
  const std::span<float> result = std::span(rotated).first(head.size());
  RotateKey(result);
  return result;
}

// What the two codes in a byte stand for.
struct LevelPair {
  float low;
  float high;
};

constexpr std::array<LevelPair, 256> kLevelPairs = [] {
  std::array<LevelPair, 256> pairs = {};
  for (int byte = 0; byte < 256; ++byte) {
    pairs[byte] = {static_cast<float>(kInt4KvLevels[byte & 15]), static_cast<float>(kInt4KvLevels[byte >> 4])};
  }
  return pairs;
}();

// For tokens [begin, end): prediction += gain * (level * scale + middle), one rounding after the other, so that it is
// the same whether a block is gone through at once or token by token. The gain, a power of two, may come first.
void AddToPrediction(const KvBlockLayout& block, int begin, int end, const std::byte* keys, float* prediction) {
  const auto load = [&](int offset) {
    uint16_t bits;
    std::memcpy(&bits, keys + offset, sizeof(bits));
    return FromBFloat16(bits);
  };
  float scales[kKvBlockTokens], middles[kKvBlockTokens];
  for (int token = begin; token < end; ++token) {
    scales[token] = KeyPredictionGain(token) * load(block.ScaleOffset(token));
    middles[token] = KeyPredictionGain(token) * load(block.MiddleOffset(token));
  }
  for (int dim = 0; dim < block.head_dim; dim += 2 * kLanes) {
    Floats low = Load(prediction + dim), high = Load(prediction + dim + kLanes);
    const std::byte* unit = keys + block.KeyOffset(begin, dim);
    for (int token = begin; token < end; ++token, unit += kLanes) {
      const auto pair = [unit](int i) { return kLevelPairs[static_cast<uint8_t>(unit[i])]; };
      const LevelPair a = pair(0), b = pair(1), c = pair(2), d = pair(3);
      low += Floats{a.low, b.low, c.low, d.low} * scales[token] + middles[token];
      high += Floats{a.high, b.high, c.high, d.high} * scales[token] + middles[token];
    }
    Store(low, prediction + dim);
    Store(high, prediction + dim + kLanes);
  }
}

}  // namespace

KvWriter::KvWriter(const CpuKvCache& cache, int layer) : cache_(cache), layer_(layer) {
  if (cache.layout().key_dtype == KvDType::kInt4) predictions_.resize(cache.layout().num_kv_heads);
}

void KvWriter::Write(int32_t slot, int kv_head, std::span<const float> key, std::span<const float> value) {
  const KvLayout& layout = cache_.layout();
  const int page = slot / layout.page_size;
  const int offset = slot % layout.page_size;
  const int token = offset % kKvBlockTokens;
  std::array<float, kMaxHeadDim> rotated;
  StoredHead stored;

  std::byte* keys = cache_.KeyBlock(layer_, page, kv_head, offset);
  if (layout.key_dtype == KvDType::kInt4) {
    WriteInt4Key(slot, kv_head, Rotate(key, rotated), keys);
  } else {
    StoreHead(cache_.key_block(), layout.key_dtype == KvDType::kInt8 ? Rotate(key, rotated) : key, stored);
    PlaceKey(cache_.key_block(), token, stored, keys);
  }
  StoreHead(cache_.value_block(), layout.value_dtype == KvDType::kInt4 ? Rotate(value, rotated) : value, stored);
  PlaceValue(cache_.value_block(), token, stored, cache_.ValueBlock(layer_, page, kv_head, offset));
}

// What is rounded is the key's difference from what the block's keys before it lead to expect.
void KvWriter::WriteInt4Key(int32_t slot, int kv_head, std::span<const float> rotated, std::byte* keys) {
  Prediction& prediction = predictions_[kv_head];
  const int token = slot % kKvBlockTokens;
  if (token == 0 || prediction.slot != slot) {
    prediction.key.fill(0);
    AddToPrediction(cache_.key_block(), 0, token, keys, prediction.key.data());
  }
  std::array<float, kMaxHeadDim> difference;
  std::ranges::transform(rotated, prediction.key, difference.begin(), std::minus<>());
  StoredHead stored;
  StoreInt4(std::span(difference).first(rotated.size()), stored);
  PlaceKey(cache_.key_block(), token, stored, keys);
  AddToPrediction(cache_.key_block(), token, token + 1, keys, prediction.key.data());
  prediction.slot = slot + 1;
}

}  // namespace quire
