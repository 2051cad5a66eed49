#include "kernels/cpu/rope_append.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <numeric>
#include <random>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kernels/bfloat16.h"
#include "kernels/cpu/kv_cache.h"
#include "kernels/cpu/kv_rotation.h"
#include "tests/kernels/cpu/paged_batch.h"
#include "tests/kernels/kv_types.h"
#include "tests/reference/reference_kv_cache.h"
#include "tests/reference/reference_ops.h"

namespace quire {
namespace {

constexpr uint32_t kSeed = 7;

std::vector<float> InverseFrequencies(int rotary_dim, double base) {
  std::vector<float> frequencies;
  for (int i = 0; i < rotary_dim; i += 2)
    frequencies.push_back(static_cast<float>(std::pow(base, -1.0 * i / rotary_dim)));
  return frequencies;
}

struct RopeCase {
  int head_dim;
  int rotary_dim;
  RopeKind kind;
  bool normalize;
  KvTypes types = kBFloat16Kv;
};

// The key and the value of one token and head, as floats.
std::pair<std::vector<float>, std::vector<float>> StoredAt(const CpuKvCache& cache, int layer, int page, int head,
                                                           int offset) {
  const auto load = [&](const KvBlockLayout& block, const std::byte* memory, int token, int place, bool high) {
    const auto load_bfloat16 = [&](int at) {
      uint16_t bits;
      std::memcpy(&bits, memory + at, sizeof(bits));
      return FromBFloat16(bits);
    };
    if (block.dtype == KvDType::kBF16) return load_bfloat16(place);
    const int code = static_cast<int>(memory[place]);
    if (block.dtype == KvDType::kInt4) {
      const int level = kInt4KvLevels[high ? code >> 4 : code & 15];
      return static_cast<float>(level) * load_bfloat16(block.ScaleOffset(token)) +
             load_bfloat16(block.MiddleOffset(token));
    }
    float scale;
    std::memcpy(&scale, memory + block.ScaleOffset(token), sizeof(scale));
    return static_cast<float>(code - kInt8KvCentre) * scale;
  };
  std::vector<float> key, value;
  const int head_dim = cache.layout().head_dim;
  const int last = offset % kKvBlockTokens;
  const KvBlockLayout &keys = cache.key_block(), &values = cache.value_block();
  const std::byte* memory = cache.KeyBlock(layer, page, head, offset);
  for (int dim = 0; dim < head_dim; ++dim) {
    const auto stored_key = [&](int token) {
      return load(keys, memory, token, keys.KeyOffset(token, dim), keys.IsKeyHigh(dim));
    };
    float prediction = 0;
    for (int token = 0; keys.dtype == KvDType::kInt4 && token < last; ++token) {
      prediction += KeyPredictionGain(token) * stored_key(token);
    }
    key.push_back(prediction + stored_key(last));
    value.push_back(load(values, cache.ValueBlock(layer, page, head, offset), last, values.ValueOffset(last, dim),
                         values.IsValueHigh(dim)));
  }
  const auto rotate_back = [&](std::vector<float>& rotated) {
    RotateKey(rotated);
    for (float& x : rotated) x /= static_cast<float>(RotatedPart(head_dim));
  };
  if (cache.layout().key_dtype != KvDType::kBF16) rotate_back(key);
  if (cache.layout().value_dtype == KvDType::kInt4) rotate_back(value);
  return {key, value};
}

TEST(RopeAppender, AgreesWithTheReferenceForEveryKind) {
  std::mt19937 random(kSeed);
  WorkerPool pool(3);
  RopeAppender appender;
  ReferenceOps reference;
  std::vector<RopeCase> cases;
  for (const KvTypes& types : kEveryKv) {
    for (const RopeCase& c :
         {RopeCase{64, 64, RopeKind::kInterleaved, false}, RopeCase{128, 128, RopeKind::kHalves, true},
          RopeCase{80, 32, RopeKind::kHalves, false}, RopeCase{96, 48, RopeKind::kInterleaved, true},
          RopeCase{16, 0, RopeKind::kInterleaved, false}}) {
      const bool int4 = types.key == KvDType::kInt4 || types.value == KvDType::kInt4;
      if (int4 && c.head_dim % kInt4KvDims != 0) continue;
      cases.push_back(c);
      cases.back().types = types;
    }
  }
  for (const RopeCase& c : cases) {
    // In int4, the tokens of the first block that are not in the batch would have to be written before.
    const bool int4 = c.types.key == KvDType::kInt4;
    const std::vector<SequenceShape> shapes = {{40, 40}, {9, int4 ? 9 : 1}, {130, int4 ? 66 : 70}, {1, 1}};
    SCOPED_TRACE(
        absl::StrCat("seed ", kSeed, " head_dim ", c.head_dim, " rotary ", c.rotary_dim, " ", NameOf(c.types)));
    const KvLayout layout{.num_layers = 3,
                          .num_kv_heads = 2,
                          .head_dim = c.head_dim,
                          .page_size = 32,
                          .num_pages = 10,
                          .key_dtype = c.types.key,
                          .value_dtype = c.types.value};
    const auto cache = CpuKvCache::Create(layout).value();
    const auto reference_cache = reference.AllocateKvCache(layout).value();
    const PagedBatch batch(shapes, layout.page_size, layout.num_pages, random);
    const std::vector<float> frequencies = InverseFrequencies(c.rotary_dim, 10000);
    Matrix norms = RandomMatrix(2, c.head_dim, random);
    Matrix qkv = RandomMatrix(batch.view().num_tokens(), (6 + 2 * 2) * c.head_dim, random);
    Matrix expected = qkv;

    RopeAppendArgs args;
    args.qkv = qkv.view();
    args.num_heads = 6;
    if (c.normalize) {
      args.query_norm = {std::span(norms.data).first(c.head_dim), 1e-6f};
      args.key_norm = {std::span(norms.data).last(c.head_dim), 1e-5f};
    }
    args.rope = {c.kind, frequencies};
    args.layer = 2;
    args.kv_cache = cache.get();
    args.batch = batch.view();
    appender.Run(args, pool);
    args.qkv = expected.view();
    args.kv_cache = reference_cache.get();
    reference.RopeAppend(args);

    EXPECT_THAT(qkv.data, testing::Pointwise(testing::FloatNear(1e-5f), expected.data));
    const auto& oracle = static_cast<const ReferenceKvCache&>(*reference_cache);
    for (int32_t slot : args.batch.slot_mapping) {
      const int page = slot / layout.page_size, offset = slot % layout.page_size;
      for (int head = 0; head < layout.num_kv_heads; ++head) {
        float max_key = 0;
        for (float x : oracle.Key(2, slot, head)) max_key = std::max(max_key, std::abs(x));
        const auto [keys, values] = StoredAt(*cache, 2, page, head, offset);
        for (int dim = 0; dim < c.head_dim; ++dim) {
          const float expected_key = oracle.Key(2, slot, head)[dim];
          // Rotations differ in the last bit, which may tip a code.
          float unit = std::abs(expected_key) / 128;
          if (c.types.key == KvDType::kInt8) unit = max_key / 127;
          if (c.types.key == KvDType::kInt4) unit = max_key / 8;
          ASSERT_NEAR(keys[dim], expected_key, unit + 1e-6);
          // Rotated back, middles and levels are added up in other orders.
          const float noise = c.types.value == KvDType::kInt4 ? 1e-5f : 0;
          ASSERT_NEAR(values[dim], oracle.Value(2, slot, head)[dim], noise);
        }
      }
    }
  }
}

TEST(RopeAppender, IsExactAtLongContexts) {
  const std::vector<float> frequencies = InverseFrequencies(64, 100000);
  const KvLayout layout{.num_layers = 1, .num_kv_heads = 1, .head_dim = 64, .page_size = 16, .num_pages = 1};
  const auto cache = CpuKvCache::Create(layout).value();
  WorkerPool pool(1);
  RopeAppender appender;
  for (int32_t position : {1, 4095, 65537, 131071}) {
    const std::vector<int32_t> positions = {position};
    const std::vector<int32_t> slots = {0};
    Matrix qkv(1, 3 * 64);
    for (int i = 0; i < 64; i += 2) qkv.data[i] = 1;
    RopeAppendArgs args;
    args.qkv = qkv.view();
    args.num_heads = 1;
    args.rope = {RopeKind::kInterleaved, frequencies};
    args.kv_cache = cache.get();
    args.batch.positions = positions;
    args.batch.slot_mapping = slots;
    appender.Run(args, pool);
    for (int i = 0; i < 32; ++i) {
      const long double angle = static_cast<long double>(frequencies[i]) * position;
      EXPECT_FLOAT_EQ(qkv.data[2 * i], static_cast<float>(std::cos(angle))) << position;
      EXPECT_FLOAT_EQ(qkv.data[2 * i + 1], static_cast<float>(std::sin(angle))) << position;
    }
  }
}

TEST(RopeAppender, RotatesForTheSequencesPositionsWhereTheContextHasGaps) {
  std::mt19937 random(kSeed);
  const KvLayout layout{.num_layers = 1, .num_kv_heads = 1, .head_dim = 32, .page_size = 16, .num_pages = 1};
  const std::vector<float> frequencies = InverseFrequencies(32, 10000);
  const std::vector<int32_t> places = {3}, positions = {1003}, slots = {3};
  const Matrix qkv = RandomMatrix(1, 3 * 32, random);
  WorkerPool pool(1);
  RopeAppender appender;
  const auto rotated = [&](std::span<const int32_t> at, std::span<const int32_t> rotary) {
    const auto cache = CpuKvCache::Create(layout).value();
    Matrix copy = qkv;
    RopeAppendArgs args;
    args.qkv = copy.view();
    args.num_heads = 1;
    args.rope = {RopeKind::kInterleaved, frequencies};
    args.kv_cache = cache.get();
    args.batch.positions = at;
    args.batch.rotary_positions = rotary;
    args.batch.slot_mapping = slots;
    appender.Run(args, pool);
    return copy.data;
  };
  EXPECT_EQ(rotated(places, positions), rotated(positions, {}));
  EXPECT_NE(rotated(places, positions), rotated(places, {}));
}

// The rotations of a step are remembered; another step, or another model's frequencies, must not meet them.
TEST(RopeAppender, ForgetsRotationsOfOtherPositionsAndFrequencies) {
  std::mt19937 random(kSeed);
  const KvLayout layout{.num_layers = 1, .num_kv_heads = 1, .head_dim = 32, .page_size = 16, .num_pages = 4};
  const auto cache = CpuKvCache::Create(layout).value();
  WorkerPool pool(1);
  RopeAppender appender;
  ReferenceOps reference;
  const auto reference_cache = reference.AllocateKvCache(layout).value();
  for (const auto& [context_len, base] : {std::pair{20, 1e4}, {20, 1e4}, {21, 1e4}, {21, 5e5}, {3, 5e5}}) {
    const PagedBatch batch({{context_len, 3}}, layout.page_size, layout.num_pages, random);
    const std::vector<float> frequencies = InverseFrequencies(32, base);
    Matrix qkv = RandomMatrix(3, 3 * 32, random);
    Matrix expected = qkv;
    RopeAppendArgs args;
    args.qkv = qkv.view();
    args.num_heads = 1;
    args.rope = {RopeKind::kHalves, frequencies};
    args.kv_cache = cache.get();
    args.batch = batch.view();
    appender.Run(args, pool);
    args.qkv = expected.view();
    args.kv_cache = reference_cache.get();
    reference.RopeAppend(args);
    EXPECT_THAT(qkv.data, testing::Pointwise(testing::FloatNear(1e-5f), expected.data)) << context_len << " " << base;
  }
}

// Whoever reads a token of which something is not finite gets NaN, and a head of zeros stays zeros.
TEST(RopeAppender, KeepsNaNAndZerosInInt8) {
  KvLayout layout{.num_layers = 1, .num_kv_heads = 1, .head_dim = 16, .page_size = 16, .num_pages = 1};
  layout.key_dtype = layout.value_dtype = KvDType::kInt8;
  const auto cache = CpuKvCache::Create(layout).value();
  for (float x : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(), 0.0f, 1e-40f}) {
    const std::vector<int32_t> positions = {0}, slots = {3};
    Matrix qkv(1, 3 * 16);
    qkv.data[16 + 5] = qkv.data[32 + 15] = x;
    RopeAppendArgs args;
    args.qkv = qkv.view();
    args.num_heads = 1;
    args.kv_cache = cache.get();
    args.batch.positions = positions;
    args.batch.slot_mapping = slots;
    WorkerPool pool(1);
    RopeAppender().Run(args, pool);
    const auto [key, value] = StoredAt(*cache, 0, 0, 0, 3);
    if (x < 1) {
      EXPECT_THAT(key, testing::Each(0));
      EXPECT_THAT(value, testing::Each(0));
    } else {
      EXPECT_THAT(key, testing::Each(testing::IsNan()));
      EXPECT_THAT(value, testing::Each(testing::IsNan()));
    }
  }
}

TEST(RopeAppender, GivesATokenTheSameBitsInAnyBatchOnAnyNumberOfWorkers) {
  std::mt19937 random(kSeed);
  KvLayout layout{.num_layers = 1, .num_kv_heads = 2, .head_dim = 64, .page_size = 16, .num_pages = 13};
  const std::vector<SequenceShape> shapes = {{201, 201}};
  const PagedBatch batch(shapes, layout.page_size, layout.num_pages, random);
  const std::vector<float> frequencies = InverseFrequencies(64, 1e4);
  const Matrix norms = RandomMatrix(1, 64, random);
  const Matrix input = RandomMatrix(201, 10 * 64, random);
  const auto run = [&](int num_workers, int64_t tokens_a_call) {
    const auto cache = CpuKvCache::Create(layout).value();
    WorkerPool pool(num_workers);
    RopeAppender appender;
    Matrix qkv = input;
    for (int64_t begin = 0; begin < qkv.rows; begin += tokens_a_call) {
      const int64_t count = std::min(tokens_a_call, qkv.rows - begin);
      RopeAppendArgs args;
      args.qkv = {qkv.Row(begin), count, qkv.cols, qkv.cols};
      args.num_heads = 6;
      args.query_norm = args.key_norm = {norms.data, 1e-5f};
      args.rope = {RopeKind::kInterleaved, frequencies};
      args.kv_cache = cache.get();
      args.batch.positions = batch.view().positions.subspan(begin, count);
      args.batch.slot_mapping = batch.view().slot_mapping.subspan(begin, count);
      appender.Run(args, pool);
    }
    return std::pair(qkv.data, std::vector(cache->data(), cache->data() + cache->bytes()));
  };
  for (const KvTypes& types : kEveryKv) {
    layout.key_dtype = types.key;
    layout.value_dtype = types.value;
    const auto expected = run(1, 201);
    for (int num_workers : {1, 2, 5}) {
      for (int tokens_a_call : {1, 50, 201}) {
        EXPECT_TRUE(run(num_workers, tokens_a_call) == expected) << num_workers << " " << tokens_a_call;
      }
    }
  }
}

}  // namespace
}  // namespace quire
