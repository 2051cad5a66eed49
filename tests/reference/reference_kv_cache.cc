#include "tests/reference/reference_kv_cache.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "kernels/bfloat16.h"
#include "kernels/check.h"
#include "tests/reference/float8.h"

namespace quire {
namespace {

// By a Hadamard matrix, in parts as long as a power of two may be; twice is times the length of a part, which is
// returned.
int Rotate(std::vector<float>& head) {
  const size_t part = head.size() & -head.size();
  for (size_t stride = 1; stride < part; stride *= 2) {
    for (size_t i = 0; i < head.size(); ++i) {
      if (i & stride) continue;
      const float x = head[i], y = head[i + stride];
      head[i] = x + y;
      head[i + stride] = x - y;
    }
  }
  return static_cast<int>(part);
}

// Halves are rounded up, after 128 was added: whoever rounds otherwise is a whole code away now and then.
void RoundToInt8(std::span<float> head) {
  float max = 0;
  for (float x : head) max = std::max(max, std::abs(x));
  const float inverse = max > 1e-33f ? 127 / max : 0;
  for (float& x : head) x = (std::floor(x * inverse + 128.5f) - 128) * (max / 127);
}

void RoundToFp8(std::span<float> head) {
  const Float8Numbers rounded = RoundToFloat8(head);
  std::ranges::transform(rounded.codes, head.begin(), [&](float code) { return code * rounded.scale; });
}

float RoundToBFloat16(float x) { return FromBFloat16(ToBFloat16(x)); }

// To the nearest of 16 levels that reach over 95 % of the range; scale and middle are then, twice, what has the least
// squared error for the levels chosen. The levels are those of kernels/cpu/kv_block.h; a number is compared with them
// as an integer.
void RoundToInt4(std::span<float> head) {
  constexpr float kLevels[] = {-127, -101, -80, -63, -48, -33, -20, -7, 7, 20, 33, 48, 63, 80, 101, 127};
  const auto [min, max] = std::ranges::minmax(head);
  float middle = RoundToBFloat16((min + max) * 0.5f);
  float scale = RoundToBFloat16((max - min) * (0.5f * 0.95f / 127));
  const auto level_of = [&](float x) {
    const float inverse = scale > 1e-33f ? 1 / scale : 0;
    const float integer = std::floor(std::clamp((x - middle) * inverse + 128.5f, 0.0f, 255.0f)) - 128;
    return *std::ranges::min_element(kLevels, {}, [&](float level) { return std::abs(integer - level); });
  };
  for (int fit = 0; fit < 2; ++fit) {
    // Rounded as sums of every fourth element, then of these by pairs. The last two are whole and small: exact.
    float sums[4] = {}, products[4] = {}, levels = 0, squares = 0;
    for (size_t i = 0; i < head.size(); ++i) {
      const float level = level_of(head[i]);
      sums[i % 4] += head[i];
      products[i % 4] += head[i] * level;
      levels += level;
      squares += level * level;
    }
    const float sum = (sums[0] + sums[1]) + (sums[2] + sums[3]);
    const float product = (products[0] + products[1]) + (products[2] + products[3]);
    const auto count = static_cast<float>(head.size());
    const float variance = squares - levels / count * levels, covariance = product - levels / count * sum;
    if (variance > 0 && covariance > 0) {
      scale = RoundToBFloat16(covariance / variance);
      middle = RoundToBFloat16(sum / count - scale * (levels / count));
    }
  }
  for (float& x : head) x = level_of(x) * scale + middle;
}

template <typename Function>
void Rotated(std::vector<float>& head, Function round) {
  Rotate(head);
  round(head);
  const int part = Rotate(head);
  for (float& x : head) x /= static_cast<float>(part);
}

// All but int4, whose keys depend on others.
std::vector<float> RoundedKey(KvDType dtype, std::span<const float> key) {
  std::vector<float> rounded(key.begin(), key.end());
  if (dtype == KvDType::kBF16) std::ranges::transform(rounded, rounded.begin(), RoundToBFloat16);
  if (dtype == KvDType::kInt8) Rotated(rounded, RoundToInt8);
  if (dtype == KvDType::kFp8) RoundToFp8(rounded);
  return rounded;
}

std::vector<float> RoundedValue(KvDType dtype, std::span<const float> value) {
  std::vector<float> rounded(value.begin(), value.end());
  if (dtype == KvDType::kBF16) std::ranges::transform(rounded, rounded.begin(), RoundToBFloat16);
  if (dtype == KvDType::kInt8) RoundToInt8(rounded);
  if (dtype == KvDType::kFp8) RoundToFp8(rounded);
  if (dtype == KvDType::kInt4) Rotated(rounded, RoundToInt4);
  return rounded;
}

}  // namespace

ReferenceKvCache::ReferenceKvCache(const KvLayout& layout) : layout_(layout) {
  const int64_t elements =
      int64_t{layout.num_layers} * layout.num_pages * layout.page_size * layout.num_kv_heads * layout.head_dim;
  keys_.assign(elements, std::numeric_limits<float>::quiet_NaN());
  key_differences_ = values_ = keys_;
}

int64_t ReferenceKvCache::Index(int layer, int64_t slot, int kv_head) const {
  const int64_t num_slots = int64_t{layout_.num_pages} * layout_.page_size;
  QUIRE_CHECK(layer >= 0 && layer < layout_.num_layers);
  QUIRE_CHECK(slot >= 0 && slot < num_slots);
  QUIRE_CHECK(kv_head >= 0 && kv_head < layout_.num_kv_heads);
  return ((layer * num_slots + slot) * layout_.num_kv_heads + kv_head) * layout_.head_dim;
}

std::span<const float> ReferenceKvCache::At(const std::vector<float>& data, int layer, int64_t slot,
                                            int kv_head) const {
  return std::span(data).subspan(Index(layer, slot, kv_head), layout_.head_dim);
}

void ReferenceKvCache::Write(int layer, int64_t slot, int kv_head, std::span<const float> key,
                             std::span<const float> value) {
  const int64_t index = Index(layer, slot, kv_head);
  if (layout_.key_dtype == KvDType::kInt4) {
    WriteInt4Key(layer, slot, kv_head, key);
  } else {
    std::ranges::copy(RoundedKey(layout_.key_dtype, key), keys_.begin() + index);
  }
  std::ranges::copy(RoundedValue(layout_.value_dtype, value), values_.begin() + index);
}

// Rounds the difference from a prediction that moves half-way to each of the block's keys, all the way to its first.
void ReferenceKvCache::WriteInt4Key(int layer, int64_t slot, int kv_head, std::span<const float> key) {
  const size_t head_dim = key.size();
  std::vector<float> prediction(head_dim), rotated(key.begin(), key.end());
  Rotate(rotated);
  const int64_t first = slot / 16 * 16;
  for (int64_t earlier = first; earlier < slot; ++earlier) {
    const std::span<const float> difference = At(key_differences_, layer, earlier, kv_head);
    const float gain = earlier == first ? 1 : 0.5f;
    for (size_t i = 0; i < head_dim; ++i) prediction[i] += gain * difference[i];
  }
  std::vector<float> difference(head_dim);
  std::ranges::transform(rotated, prediction, difference.begin(), std::minus<>());
  RoundToInt4(difference);
  const int64_t index = Index(layer, slot, kv_head);
  std::ranges::copy(difference, key_differences_.begin() + index);
  std::ranges::transform(difference, prediction, rotated.begin(), std::plus<>());
  const auto part = static_cast<float>(Rotate(rotated));
  std::ranges::transform(rotated, keys_.begin() + index, [part](float x) { return x / part; });
}

void ReferenceKvCache::CopyPage(const PageCopy& copy) {
  for (int layer = 0; layer < layout_.num_layers; ++layer) {
    for (int token = 0; token < copy.num_tokens; ++token) {
      for (int head = 0; head < layout_.num_kv_heads; ++head) {
        const int64_t source = Index(layer, int64_t{copy.source} * layout_.page_size + token, head);
        const int64_t destination = Index(layer, int64_t{copy.destination} * layout_.page_size + token, head);
        for (std::vector<float>* data : {&keys_, &key_differences_, &values_}) {
          std::copy_n(data->begin() + source, layout_.head_dim, data->begin() + destination);
        }
      }
    }
  }
}

}  // namespace quire
