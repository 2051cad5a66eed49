#include "kernels/cpu/kv_writer.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <functional>
#include <limits>

#include "kernels/bfloat16.h"
#include "kernels/check.h"
#include "kernels/cpu/kv_rotation.h"

namespace quire {
namespace {

// K or V of one token and head, as numbers of its block's type: one element after the other, codes in a byte each.
struct StoredHead {
  std::byte elements[2 * kMaxHeadDim];
  float scale;
  float minimum;
};

void StoreBFloat16(std::span<const float> head, StoredHead& stored) {
  for (size_t i = 0; i < head.size(); ++i) {
    const uint16_t bits = ToBFloat16(head[i]);
    std::memcpy(stored.elements + 2 * i, &bits, sizeof(bits));
  }
}

// Where an element is not finite the scale is NaN, so that whoever reads the token gets NaN.
void StoreInt8(std::span<const float> head, StoredHead& stored) {
  float max = 0;
  bool finite = true;
  for (const float x : head) {
    finite &= std::isfinite(x);
    max = std::max(max, std::abs(x));
  }
  // The reciprocal of what is smaller would overflow; such a head counts as zeros.
  const float inverse = finite && max > 1e-33f ? 127 / max : 0;
  stored.scale = finite ? max / 127 : std::numeric_limits<float>::quiet_NaN();
  for (size_t i = 0; i < head.size(); ++i) {
    const float scaled = finite ? head[i] * inverse : 0;
    stored.elements[i] = static_cast<std::byte>(static_cast<int>(scaled + (kInt8KvCentre + 0.5f)));
  }
}

float RoundToBFloat16(float x) { return FromBFloat16(ToBFloat16(x)); }

// The codes nearest to the head's elements.
void ChooseCodes(std::span<const float> head, StoredHead& stored) {
  const float inverse = stored.scale > 1e-33f ? 1 / stored.scale : 0;
  for (size_t i = 0; i < head.size(); ++i) {
    const float code = std::clamp((head[i] - stored.minimum) * inverse + 0.5f, 0.0f, float{kInt4KvMaxCode});
    stored.elements[i] = static_cast<std::byte>(static_cast<int>(code));
  }
}

// The scale and the minimum with the least squared error for the codes as they are.
void FitScale(std::span<const float> head, StoredHead& stored) {
  const auto count = static_cast<float>(head.size());
  float sum = 0, product = 0;
  int code_sum = 0, square_sum = 0;
  for (size_t i = 0; i < head.size(); ++i) {
    const int code = static_cast<int>(stored.elements[i]);
    sum += head[i];
    product += head[i] * static_cast<float>(code);
    code_sum += code;
    square_sum += code * code;
  }
  const float mean_code = static_cast<float>(code_sum) / count;
  const float variance = static_cast<float>(square_sum) - mean_code * static_cast<float>(code_sum);
  const float covariance = product - mean_code * sum;
  if (!(variance > 0 && covariance > 0)) return;
  stored.scale = RoundToBFloat16(covariance / variance);
  stored.minimum = RoundToBFloat16(sum / count - stored.scale * mean_code);
}

// Where an element is not finite, or the sum or the difference of some overflows, the scale is NaN as for int8. Codes
// are chosen for the scale and the minimum as they are kept, so that these may be coarse.
void StoreInt4(std::span<const float> head, StoredHead& stored) {
  bool finite = true;
  for (const float x : head) finite &= std::isfinite(x);
  const auto [min, max] = std::ranges::minmax(head);
  // The outermost elements are few: to come a little short of them makes the steps smaller for all.
  constexpr float kShareOfRange = 0.95f;
  const float middle = (min + max) * 0.5f, half = (max - min) * (0.5f * kShareOfRange);
  stored.minimum = RoundToBFloat16(middle - half);
  stored.scale = RoundToBFloat16(half * (2.0f / kInt4KvMaxCode));
  if (finite && std::isfinite(stored.scale)) {
    ChooseCodes(head, stored);
    FitScale(head, stored);
    ChooseCodes(head, stored);
  }
  if (finite && std::isfinite(stored.scale) && std::isfinite(stored.minimum)) return;
  stored.scale = std::numeric_limits<float>::quiet_NaN();
  stored.minimum = 0;
  std::fill_n(stored.elements, head.size(), std::byte{0});
}

void StoreHead(const KvBlockLayout& block, std::span<const float> head, StoredHead& stored) {
  switch (block.dtype) {
    case KvDType::kF32:
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
  if (!block.has_minima()) return;
  const uint16_t scale = ToBFloat16(stored.scale), minimum = ToBFloat16(stored.minimum);
  std::memcpy(to + block.ScaleOffset(token), &scale, sizeof(scale));
  std::memcpy(to + block.MinimumOffset(token), &minimum, sizeof(minimum));
}

void PlaceKey(const KvBlockLayout& block, int token, const StoredHead& stored, std::byte* keys) {
  for (int dim = 0; dim < block.head_dim; dim += block.dims_per_unit()) {
    std::byte* unit = keys + block.KeyOffset(token, dim);
    if (block.dtype == KvDType::kInt4) {
      const std::byte* codes = stored.elements + dim;
      for (int i = 0; i < 4; ++i) unit[i] = codes[i] | codes[i + 4] << 4;
    } else {
      std::memcpy(unit, stored.elements + dim * block.element_bits() / 8, 4);
    }
  }
  PlaceScales(block, token, stored, keys);
}

void PlaceValue(const KvBlockLayout& block, int token, const StoredHead& stored, std::byte* values) {
  std::byte* first = values + block.ValueOffset(token, 0);
  if (block.dtype == KvDType::kInt4) {
    for (int dim = 0; dim < block.head_dim; dim += kInt4KvDims) {
      const std::byte* codes = stored.elements + dim;
      std::byte* to = first + dim / kInt4KvDims * 64;
      for (int i = 0; i < 16; ++i) to[4 * i] = codes[i] | codes[i + 16] << 4;
    }
  } else {
    const int bytes = block.element_bits() / 8;
    for (int dim = 0; dim < block.head_dim; ++dim) {
      for (int i = 0; i < bytes; ++i) first[4 * dim + i] = stored.elements[dim * bytes + i];
    }
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

// prediction += gain * (code * scale + minimum), one rounding after the other, so that it is the same whether a block
// is gone through at once or token by token.
void AddToPrediction(const KvBlockLayout& block, int token, const std::byte* keys, float* prediction) {
  const auto load = [&](int offset) {
    uint16_t bits;
    std::memcpy(&bits, keys + offset, sizeof(bits));
    return FromBFloat16(bits);
  };
  const float scale = load(block.ScaleOffset(token)), minimum = load(block.MinimumOffset(token));
  const float gain = KeyPredictionGain(token);
  for (int dim = 0; dim < block.head_dim; dim += block.dims_per_unit()) {
    uint8_t unit[4];
    std::memcpy(unit, keys + block.KeyOffset(token, dim), sizeof(unit));
    for (int i = 0; i < 4; ++i) {
      prediction[dim + i] += gain * (static_cast<float>(unit[i] & 15) * scale + minimum);
      prediction[dim + 4 + i] += gain * (static_cast<float>(unit[i] >> 4) * scale + minimum);
    }
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
  if (token == 0 || prediction.slot != slot) Predict(slot, keys, prediction);
  std::array<float, kMaxHeadDim> difference;
  std::ranges::transform(rotated, prediction.key, difference.begin(), std::minus<>());
  StoredHead stored;
  StoreInt4(std::span(difference).first(rotated.size()), stored);
  PlaceKey(cache_.key_block(), token, stored, keys);
  AddToPrediction(cache_.key_block(), token, keys, prediction.key.data());
  prediction.slot = slot + 1;
}

void KvWriter::Predict(int32_t slot, const std::byte* keys, Prediction& prediction) const {
  prediction.key.fill(0);
  for (int token = 0; token < slot % kKvBlockTokens; ++token) {
    AddToPrediction(cache_.key_block(), token, keys, prediction.key.data());
  }
}

}  // namespace quire
