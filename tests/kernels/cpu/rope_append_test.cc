#include "kernels/cpu/rope_append.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <numeric>
#include <random>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kernels/bfloat16.h"
#include "kernels/cpu/kv_cache.h"
#include "tests/kernels/cpu/paged_batch.h"
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
};

TEST(RopeAppender, AgreesWithTheReferenceForEveryKind) {
  std::mt19937 random(kSeed);
  WorkerPool pool(3);
  RopeAppender appender;
  ReferenceOps reference;
  const std::vector<SequenceShape> shapes = {{40, 40}, {9, 1}, {130, 70}, {1, 1}};
  for (const RopeCase& c :
       {RopeCase{64, 64, RopeKind::kInterleaved, false}, RopeCase{128, 128, RopeKind::kHalves, true},
        RopeCase{80, 32, RopeKind::kHalves, false}, RopeCase{96, 48, RopeKind::kInterleaved, true},
        RopeCase{16, 0, RopeKind::kInterleaved, false}}) {
    SCOPED_TRACE(absl::StrCat("seed ", kSeed, " head_dim ", c.head_dim, " rotary ", c.rotary_dim));
    const KvLayout layout{.num_layers = 3, .num_kv_heads = 2, .head_dim = c.head_dim, .page_size = 32, .num_pages = 10};
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
        for (int dim = 0; dim < c.head_dim; ++dim) {
          const float key = FromBFloat16(cache->Keys(2, page, head)[cache->KeyIndex(offset, dim)]);
          const float value = FromBFloat16(cache->Values(2, page, head)[cache->ValueIndex(offset, dim)]);
          const float expected_key = oracle.Key(2, slot, head)[dim];
          ASSERT_NEAR(key, expected_key, std::abs(expected_key) / 128 + 1e-6);  // One unit of bfloat16.
          ASSERT_EQ(value, oracle.Value(2, slot, head)[dim]);
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

TEST(RopeAppender, GivesATokenTheSameBitsInAnyBatchOnAnyNumberOfWorkers) {
  std::mt19937 random(kSeed);
  const KvLayout layout{.num_layers = 1, .num_kv_heads = 2, .head_dim = 64, .page_size = 16, .num_pages = 13};
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
    const uint16_t* kv = cache->Keys(0, 0, 0);
    return std::pair(qkv.data, std::vector(kv, kv + layout.BytesPerPage() / 2 * layout.num_pages));
  };
  const auto expected = run(1, 201);
  for (int num_workers : {1, 2, 5}) {
    for (int tokens_a_call : {1, 50, 201}) {
      EXPECT_TRUE(run(num_workers, tokens_a_call) == expected) << num_workers << " " << tokens_a_call;
    }
  }
}

}  // namespace
}  // namespace quire
