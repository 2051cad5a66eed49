#include "kernels/cpu/rope_append.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <limits>

#include "kernels/bfloat16.h"
#include "kernels/check.h"
#include "kernels/cpu/kv_cache.h"
#include "kernels/cpu/kv_rotation.h"

namespace quire {
namespace {

// Below this many floats in all, waking the workers costs more than the work.
constexpr int64_t kMinParallelFloats = 4096;

void NormalizeHead(const RmsNorm& norm, std::span<float> head) {
  if (norm.weight.empty()) return;
  constexpr size_t kLanes = 8;  // head_dim is a multiple of 16
  float squares[kLanes] = {};
  for (size_t i = 0; i < head.size(); i += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) squares[lane] += head[i + lane] * head[i + lane];
  }
  float sum = 0;
  for (float square : squares) sum += square;
  const float scale = 1 / std::sqrt(sum / static_cast<float>(head.size()) + norm.epsilon);
  for (size_t i = 0; i < head.size(); ++i) head[i] = head[i] * scale * norm.weight[i];
}

void RotateHead(RopeKind kind, std::span<const float> rotations, float* head) {
  const size_t n = rotations.size() / 2;
  const float* cosines = rotations.data();
  const float* sines = cosines + n;
  const auto rotate = [&](size_t i, float& x, float& y) {
    const float rotated_x = x * cosines[i] - y * sines[i];
    y = x * sines[i] + y * cosines[i];
    x = rotated_x;
  };
  if (kind == RopeKind::kHalves) {
    for (size_t i = 0; i < n; ++i) rotate(i, head[i], head[i + n]);
  } else {
    for (size_t i = 0; i < n; ++i) rotate(i, head[2 * i], head[2 * i + 1]);
  }
}

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

// Codes are chosen for the scale and the minimum as they are kept, so that their rounding costs nothing but range.
void StoreInt4(std::span<const float> head, StoredHead& stored) {
  bool finite = true;
  for (const float x : head) finite &= std::isfinite(x);
  const auto [min, max] = std::ranges::minmax(head);
  stored.minimum = FromBFloat16(ToBFloat16(finite ? min : 0));
  stored.scale = FromBFloat16(ToBFloat16((max - stored.minimum) / kInt4KvMaxCode));
  // The sum or the difference of large elements may overflow.
  if (!finite || !std::isfinite(stored.scale)) stored.scale = std::numeric_limits<float>::quiet_NaN();
  const float inverse = stored.scale > 1e-33f ? 1 / stored.scale : 0;
  for (size_t i = 0; i < head.size(); ++i) {
    const float code = inverse > 0 ? (head[i] - stored.minimum) * inverse + 0.5f : 0;
    stored.elements[i] = static_cast<std::byte>(std::clamp(static_cast<int>(code), 0, kInt4KvMaxCode));
  }
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
    std::memcpy(keys + block.KeyOffset(token, dim), stored.elements + dim * block.element_bits() / 8, 4);
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

// The rotated head, in `rotated`.
std::span<const float> Rotated(std::span<const float> head, std::array<float, kMaxHeadDim>& rotated) {
  std::ranges::copy(head, rotated.begin());
  const std::span<float> result = std::span(rotated).first(head.size());
  RotateKey(result);
  return result;
}

void AppendHead(const CpuKvCache& cache, int layer, int32_t slot, int kv_head, std::span<const float> key,
                std::span<const float> value) {
  const KvLayout& layout = cache.layout();
  const int page = slot / layout.page_size;
  const int offset = slot % layout.page_size;
  const int token = offset % kKvBlockTokens;
  std::array<float, kMaxHeadDim> rotated;
  StoredHead stored;
  StoreHead(cache.key_block(), layout.key_dtype == KvDType::kBF16 ? key : Rotated(key, rotated), stored);
  PlaceKey(cache.key_block(), token, stored, cache.KeyBlock(layer, page, kv_head, offset));
  StoreHead(cache.value_block(), layout.value_dtype == KvDType::kInt4 ? Rotated(value, rotated) : value, stored);
  PlaceValue(cache.value_block(), token, stored, cache.ValueBlock(layer, page, kv_head, offset));
}

void RopeAppendToken(const RopeAppendArgs& args, const CpuKvCache& cache, int64_t token,
                     std::span<const float> rotations) {
  const int kv_heads = cache.layout().num_kv_heads;
  const int head_dim = cache.layout().head_dim;
  float* row = args.qkv.Row(token);
  for (int h = 0; h < args.num_heads + kv_heads; ++h) {
    float* head = row + h * head_dim;
    NormalizeHead(h < args.num_heads ? args.query_norm : args.key_norm, {head, static_cast<size_t>(head_dim)});
    RotateHead(args.rope.kind, rotations, head);
  }
  const float* keys = row + args.num_heads * head_dim;
  const float* values = keys + kv_heads * head_dim;
  for (int h = 0; h < kv_heads; ++h) {
    const size_t size = head_dim;
    AppendHead(cache, args.layer, args.batch.slot_mapping[token], h, {keys + h * head_dim, size},
               {values + h * head_dim, size});
  }
}

void Check(const RopeAppendArgs& args, const KvLayout& layout) {
  const size_t head_dim = layout.head_dim;
  QUIRE_CHECK(args.qkv.rows == args.batch.num_tokens());
  QUIRE_CHECK(args.qkv.cols == (args.num_heads + 2 * layout.num_kv_heads) * layout.head_dim);
  QUIRE_CHECK(args.layer >= 0 && args.layer < layout.num_layers);
  QUIRE_CHECK(args.query_norm.weight.empty() || args.query_norm.weight.size() == head_dim);
  QUIRE_CHECK(args.key_norm.weight.empty() || args.key_norm.weight.size() == head_dim);
  QUIRE_CHECK(2 * args.rope.inverse_frequencies.size() <= head_dim);
  QUIRE_CHECK(args.batch.slot_mapping.size() == args.batch.positions.size());
  for (int32_t slot : args.batch.slot_mapping) {
    QUIRE_CHECK(slot >= 0 && slot < int64_t{layout.num_pages} * layout.page_size);
  }
}

}  // namespace

std::span<float> RopeAppender::Rotations(int64_t token) {
  const size_t size = 2 * inverse_frequencies_.size();
  return std::span(rotations_).subspan(token * size, size);
}

void RopeAppender::ComputeRotations(int64_t begin, int64_t end) {
  const size_t n = inverse_frequencies_.size();
  for (int64_t token = begin; token < end; ++token) {
    const std::span<float> rotations = Rotations(token);
    for (size_t i = 0; i < n; ++i) {
      const double angle = double{inverse_frequencies_[i]} * positions_[token];
      rotations[i] = static_cast<float>(std::cos(angle));
      rotations[n + i] = static_cast<float>(std::sin(angle));
    }
  }
}

void RopeAppender::Run(const RopeAppendArgs& args, WorkerPool& pool) {
  const auto& cache = static_cast<const CpuKvCache&>(*args.kv_cache);
  Check(args, cache.layout());
  const std::span<const float> frequencies = args.rope.inverse_frequencies;
  const bool new_step =
      !std::ranges::equal(positions_, args.batch.positions) || !std::ranges::equal(inverse_frequencies_, frequencies);
  if (new_step) {
    positions_.assign(args.batch.positions.begin(), args.batch.positions.end());
    inverse_frequencies_.assign(frequencies.begin(), frequencies.end());
    rotations_.resize(positions_.size() * 2 * frequencies.size());
  }
  const int64_t num_tokens = args.qkv.rows;
  const auto run = [&](int64_t begin, int64_t end) {
    if (new_step) ComputeRotations(begin, end);
    for (int64_t token = begin; token < end; ++token) RopeAppendToken(args, cache, token, Rotations(token));
  };
  if (num_tokens * args.qkv.cols < kMinParallelFloats) {
    run(0, num_tokens);
  } else {
    pool.Run([&](int worker) { run(num_tokens * worker / pool.size(), num_tokens * (worker + 1) / pool.size()); });
  }
}

}  // namespace quire
