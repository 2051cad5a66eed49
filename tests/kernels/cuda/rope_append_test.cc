#include "kernels/cuda/rope_append.h"

#include <cuda_runtime.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <memory>
#include <random>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/kernels/cpu/paged_batch.h"
#include "tests/kernels/cuda/cuda_fixture.h"
#include "tests/reference/reference_kv_cache.h"
#include "tests/reference/reference_ops.h"
#include "tests/sanitized.h"

namespace quire {
namespace {

constexpr uint32_t kSeed = 20260303;

std::vector<float> InverseFrequencies(int rotary_dim, double base) {
  std::vector<float> frequencies;
  for (int i = 0; i < rotary_dim; i += 2) {
    frequencies.push_back(static_cast<float>(std::pow(base, -1.0 * i / rotary_dim)));
  }
  return frequencies;
}

std::vector<float> Rotations(std::span<const int32_t> positions, const std::vector<float>& frequencies) {
  std::vector<float> rotations(positions.size() * frequencies.size() * 2);
  ComputeCudaRotations(positions.data(), static_cast<int>(positions.size()), frequencies.data(),
                       static_cast<int>(frequencies.size()), rotations.data(), nullptr);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  return rotations;
}

// The Hadamard rotation of a key, taken back.
void UndoRotation(std::vector<float>& head) {
  const size_t part = head.size() & -head.size();
  for (size_t stride = 1; stride < part; stride *= 2) {
    for (size_t i = 0; i < head.size(); ++i) {
      if (i & stride) continue;
      const float x = head[i], y = head[i + stride];
      head[i] = x + y;
      head[i + stride] = x - y;
    }
  }
  for (float& x : head) x /= static_cast<float>(part);
}

struct RopeCase {
  int head_dim;
  int rotary_dim;
  RopeKind kind;
  bool normalize;
};

TEST(CudaRopeAppend, AgreesWithTheReferenceForEveryKind) {
  const std::vector<SequenceShape> kShapes = {{40, 40}, {9, 1}, {130, 70}, {1, 1}};
  std::mt19937 random(kSeed);
  ReferenceOps reference;
  GridCases cases(4);
  for (const KvTypes& types : kCudaKv) {
    for (const RopeCase& c :
         {RopeCase{64, 64, RopeKind::kInterleaved, false}, RopeCase{256, 256, RopeKind::kHalves, true},
          RopeCase{80, 32, RopeKind::kHalves, false}, RopeCase{96, 48, RopeKind::kInterleaved, true},
          RopeCase{16, 0, RopeKind::kInterleaved, false}}) {
      if (!cases.Takes()) continue;
      SCOPED_TRACE(
          absl::StrCat("seed ", kSeed, " head_dim ", c.head_dim, " rotary ", c.rotary_dim, " ", NameOf(types)));
      const KvLayout layout{.num_layers = 3,
                            .num_kv_heads = 2,
                            .head_dim = c.head_dim,
                            .page_size = 32,
                            .num_pages = 10,
                            .key_dtype = types.key,
                            .value_dtype = types.value};
      PoisonedCudaCache cache(layout);
      const std::unique_ptr<KvCache> reference_cache = reference.AllocateKvCache(layout).value();
      const PagedBatch batch(kShapes, layout.page_size, layout.num_pages, random);
      const PagedBatchView view = batch.view();
      const std::vector<float> frequencies = InverseFrequencies(c.rotary_dim, 10000);
      Matrix norms = RandomMatrix(2, c.head_dim, random);
      Matrix qkv = RandomMatrix(view.num_tokens(), (6 + 2 * 2) * c.head_dim, random);
      Matrix expected = qkv;

      RopeAppendArgs args;
      args.qkv = expected.view();
      args.num_heads = 6;
      if (c.normalize) {
        args.query_norm = {std::span(norms.data).first(c.head_dim), 1e-6f};
        args.key_norm = {std::span(norms.data).last(c.head_dim), 1e-5f};
      }
      args.rope = {c.kind, frequencies};
      args.layer = 2;
      args.kv_cache = reference_cache.get();
      args.batch = view;
      reference.RopeAppend(args);
      const std::vector<float> rotations = Rotations(view.positions, frequencies);
      CudaRopeAppendArgs cuda;
      cuda.qkv = qkv.data.data();
      cuda.qkv_stride = qkv.cols;
      cuda.num_tokens = view.num_tokens();
      cuda.num_heads = 6;
      cuda.query_norm = c.normalize ? norms.Row(0) : nullptr;
      cuda.query_epsilon = 1e-6f;
      cuda.key_norm = c.normalize ? norms.Row(1) : nullptr;
      cuda.key_epsilon = 1e-5f;
      cuda.rotates_halves = c.kind == RopeKind::kHalves;
      cuda.rotations = rotations.data();
      cuda.num_frequencies = static_cast<int>(frequencies.size());
      cuda.slot_mapping = view.slot_mapping.data();
      cuda.layer = cache.Layer(2);
      RopeAppendOnCuda(cuda, nullptr);
      ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);

      EXPECT_THAT(qkv.data, testing::Pointwise(testing::FloatNear(1e-5f), expected.data));
      const auto& oracle = static_cast<const ReferenceKvCache&>(*reference_cache);
      for (const int32_t slot : view.slot_mapping) {
        for (int head = 0; head < layout.num_kv_heads; ++head) {
          const std::span<const float> oracle_key = oracle.Key(2, slot, head),
                                       oracle_value = oracle.Value(2, slot, head);
          std::vector<float> key = StoredHead(layout, cuda.layer.keys, slot, head);
          if (types.key == KvDType::kInt8) UndoRotation(key);
          const std::vector<float> value = StoredHead(layout, cuda.layer.values, slot, head);
          float max_key = 0;
          for (const float x : oracle_key) max_key = std::max(max_key, std::abs(x));
          for (int dim = 0; dim < c.head_dim; ++dim) {
            // Rotations differ in the last bit, which may tip a code.
            float unit = std::abs(oracle_key[dim]) / 128;
            if (types.key == KvDType::kInt8) unit = max_key / 127;
            if (types.key == KvDType::kFp8) unit = std::abs(oracle_key[dim]) / 8 + max_key / 448 / 512;
            ASSERT_NEAR(key[dim], oracle_key[dim], unit + 1e-6);
            ASSERT_EQ(value[dim], oracle_value[dim]);
          }
        }
      }
    }
  }
}

TEST(CudaRopeAppend, WritesNothingBesideItsSlots) {
  const KvLayout layout{.num_layers = 2,
                        .num_kv_heads = 2,
                        .head_dim = 48,
                        .page_size = 16,
                        .num_pages = 3,
                        .key_dtype = KvDType::kFp8,
                        .value_dtype = KvDType::kBF16};
  PoisonedCudaCache cache(layout);
  std::mt19937 random(kSeed);
  const PagedBatch batch({{20, 5}}, layout.page_size, layout.num_pages, random);
  PagedBatchView view = batch.view();
  // Rows without a token, behind those with one.
  std::vector<int32_t> positions(view.positions.begin(), view.positions.end());
  std::vector<int32_t> slots(view.slot_mapping.begin(), view.slot_mapping.end());
  positions.resize(8, 0);
  slots.resize(8, -1);
  view.positions = positions;
  view.slot_mapping = slots;
  Matrix qkv = RandomMatrix(8, (2 + 4) * 48, random);
  const std::vector<float> padding(qkv.Row(5), qkv.Row(8));
  AppendToCuda(qkv, {.kv_heads = 2, .group = 1, .head_dim = 48}, view, cache.Layer(1));
  EXPECT_TRUE(std::ranges::equal(std::span(qkv.Row(5), qkv.Row(8)), padding));
  int64_t num_written = 0;
  for (int64_t i = 0; i < cache.bytes(); ++i) num_written += cache.memory()[i] != std::byte{0xff};
  // A byte may happen to be 0xff (of an fp8 scale, say), so that a few may seem to be missing.
  const int64_t expected = 5 * layout.BytesPerToken() / layout.num_layers;
  EXPECT_LE(num_written, expected);
  EXPECT_GE(num_written, expected * 9 / 10);
  for (int64_t i = 0; i < cache.bytes() / 2; ++i) ASSERT_EQ(cache.memory()[i], std::byte{0xff});  // The other layer.
}

TEST(CudaRopeAppend, IsExactAtLongContexts) {
  const std::vector<float> frequencies = InverseFrequencies(64, 100000);
  const std::vector<int32_t> positions = {1, 4095, 65537, 131071};
  const std::vector<float> rotations = Rotations(positions, frequencies);
  for (size_t t = 0; t < positions.size(); ++t) {
    for (size_t i = 0; i < frequencies.size(); ++i) {
      const long double angle = static_cast<long double>(frequencies[i]) * positions[t];
      EXPECT_FLOAT_EQ(rotations[(2 * t) * 32 + i], static_cast<float>(std::cos(angle))) << positions[t];
      EXPECT_FLOAT_EQ(rotations[(2 * t + 1) * 32 + i], static_cast<float>(std::sin(angle))) << positions[t];
    }
  }
}

// Whoever reads a token of which something is not finite gets NaN, and a head of zeros stays zeros.
TEST(CudaRopeAppend, KeepsNaNAndZerosInEveryType) {
  for (const KvDType dtype : {KvDType::kBF16, KvDType::kInt8, KvDType::kFp8}) {
    const KvLayout layout{.num_layers = 1,
                          .num_kv_heads = 1,
                          .head_dim = 16,
                          .page_size = 16,
                          .num_pages = 1,
                          .key_dtype = dtype,
                          .value_dtype = dtype};
    PoisonedCudaCache cache(layout);
    for (const float x : {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity(), 0.0f}) {
      const std::vector<int32_t> positions = {0}, slots = {3};
      Matrix qkv(1, 3 * 16);
      qkv.data[16 + 5] = qkv.data[32 + 15] = x;
      PagedBatchView batch;
      batch.positions = positions;
      batch.slot_mapping = slots;
      AppendToCuda(qkv, {.head_dim = 16}, batch, cache.Layer(0));
      const std::vector<float> key = StoredHead(layout, cache.Layer(0).keys, 3, 0);
      const std::vector<float> value = StoredHead(layout, cache.Layer(0).values, 3, 0);
      if (x == 0) {
        EXPECT_THAT(key, testing::Each(0)) << NameOf(dtype);
        EXPECT_THAT(value, testing::Each(0)) << NameOf(dtype);
      } else {
        EXPECT_THAT(key, testing::Each(testing::IsNan())) << NameOf(dtype);
        EXPECT_THAT(value, testing::Each(testing::IsNan())) << NameOf(dtype);
      }
    }
  }
}

}  // namespace
}  // namespace quire
