#include "kernels/cpu/rope_append.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "kernels/check.h"
#include "kernels/cpu/kv_cache.h"
#include "kernels/cpu/kv_writer.h"

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

void RopeAppendToken(const RopeAppendArgs& args, int64_t token, std::span<const float> rotations, KvWriter& writer) {
  const int kv_heads = args.kv_cache->layout().num_kv_heads;
  const int head_dim = args.kv_cache->layout().head_dim;
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
    writer.Write(args.batch.slot_mapping[token], h, {keys + h * head_dim, size}, {values + h * head_dim, size});
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
  QUIRE_CHECK(args.batch.RotaryPositions().size() == args.batch.positions.size());
  for (int32_t slot : args.batch.slot_mapping) {
    QUIRE_CHECK(slot >= 0 && slot < int64_t{layout.num_pages} * layout.page_size);
  }
}

// The first token from `token` on that does not lie in the same block as the one before it.
int64_t NextBlock(std::span<const int32_t> slots, int64_t token) {
  const auto num_slots = static_cast<int64_t>(slots.size());
  while (token > 0 && token < num_slots && slots[token] / kKvBlockTokens == slots[token - 1] / kKvBlockTokens) ++token;
  return token;
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
  const std::span<const int32_t> positions = args.batch.RotaryPositions();
  const bool new_step =
      !std::ranges::equal(positions_, positions) || !std::ranges::equal(inverse_frequencies_, frequencies);
  if (new_step) {
    positions_.assign(positions.begin(), positions.end());
    inverse_frequencies_.assign(frequencies.begin(), frequencies.end());
    rotations_.resize(positions_.size() * 2 * frequencies.size());
  }
  const int64_t num_tokens = args.qkv.rows;
  const auto run = [&](int64_t begin, int64_t end) {
    // A block's tokens go to one worker: a key may depend on those before it.
    begin = NextBlock(args.batch.slot_mapping, begin);
    end = NextBlock(args.batch.slot_mapping, end);
    if (new_step) ComputeRotations(begin, end);
    KvWriter writer(cache, args.layer);
    for (int64_t token = begin; token < end; ++token) RopeAppendToken(args, token, Rotations(token), writer);
  };
  if (num_tokens * args.qkv.cols < kMinParallelFloats) {
    run(0, num_tokens);
  } else {
    pool.Run([&](int worker) { run(num_tokens * worker / pool.size(), num_tokens * (worker + 1) / pool.size()); });
  }
}

}  // namespace quire
