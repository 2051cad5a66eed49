#include "kernels/cpu/attention.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kernels/cpu/kv_cache.h"
#include "kernels/cpu/rope_append.h"
#include "tests/kernels/cpu/paged_batch.h"
#include "tests/kernels/kv_types.h"
#include "tests/reference/reference_ops.h"
#include "tests/sanitized.h"

namespace quire {
namespace {

constexpr uint32_t kSeed = 20260101;
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

struct Heads {
  int kv_heads = 1;
  int group = 1;
  int head_dim = 64;
  int num_heads() const { return kv_heads * group; }
  int qkv_cols() const { return (num_heads() + 2 * kv_heads) * head_dim; }
};

std::vector<SequenceShape> AllTokens(std::vector<SequenceShape> shapes) {
  for (SequenceShape& shape : shapes) shape.num_queries = shape.context_len;
  return shapes;
}

// A cache in which every element, or scale, that nobody writes is NaN.
std::unique_ptr<CpuKvCache> PoisonedCache(const KvLayout& layout) {
  std::unique_ptr<CpuKvCache> cache = CpuKvCache::Create(layout).value();
  std::fill_n(cache->data(), cache->bytes(), std::byte{0xff});
  return cache;
}

RopeAppendArgs AppendWithoutRotation(Matrix& qkv, const Heads& heads, const PagedBatch& batch, KvCache* cache) {
  RopeAppendArgs args;
  args.qkv = qkv.view();
  args.num_heads = heads.num_heads();
  args.kv_cache = cache;
  args.batch = batch.view();
  return args;
}

AttentionArgs AttentionOver(Matrix& qkv, const Heads& heads, const PagedBatch& batch, const KvCache* cache,
                            Matrix& output) {
  AttentionArgs args;
  args.qkv = qkv.view();
  args.num_heads = heads.num_heads();
  args.scale = 1 / std::sqrt(static_cast<float>(heads.head_dim));
  args.kv_cache = cache;
  args.batch = batch.view();
  args.output = output.view();
  return args;
}

// One loop, since there are hundreds of thousands of elements.
void ExpectNear(const Matrix& actual, const Matrix& expected, float tolerance) {
  int64_t num_wrong = 0;
  size_t last_wrong = 0;
  for (size_t i = 0; i < expected.data.size(); ++i) {
    if (std::abs(actual.data[i] - expected.data[i]) <= tolerance) continue;  // Never true for NaN.
    ++num_wrong;
    last_wrong = i;
  }
  EXPECT_EQ(num_wrong, 0) << "the last at " << last_wrong << ": " << actual.data[last_wrong] << " for "
                          << expected.data[last_wrong];
}

// Rows of `qkv` (one for each token of each context, in order) that a batch with fewer queries has.
Matrix RowsOfQueries(Matrix& qkv, const std::vector<SequenceShape>& shapes) {
  int64_t num_queries = 0;
  for (const SequenceShape& shape : shapes) num_queries += shape.num_queries;
  Matrix rows(num_queries, qkv.cols);
  int64_t source = 0, destination = 0;
  for (const SequenceShape& shape : shapes) {
    source += shape.context_len - shape.num_queries;
    for (int i = 0; i < shape.num_queries; ++i) std::copy_n(qkv.Row(source++), qkv.cols, rows.Row(destination++));
  }
  return rows;
}

struct Tested {
  const AttentionKernels* kernels;
  KvTypes types;
};

float ToleranceOf(const Tested& tested) {
  // With codes, queries and weights are rounded to 16 bits, half a part in 32,512 of the largest.
  if (tested.types.key != KvDType::kBF16) return 1e-3f;
  // They are rounded to bfloat16, half a part in 256 of each.
  if (tested.kernels->name == std::string_view("avx512_bf16")) return 2e-2f;
  return 1e-5f;
}

class CpuAttentionTest : public testing::TestWithParam<Tested> {};

TEST_P(CpuAttentionTest, AgreesWithTheReferenceOnRaggedBatches) {
  const std::vector<std::vector<SequenceShape>> kBatches = {
      {{1, 1}, {2, 1}, {17, 1}, {256, 1}, {257, 1}, {1100, 1}},  // decode
      {{1, 1}, {5, 5}, {70, 70}, {150, 150}},                    // prefill
      {{600, 1}, {530, 25}, {16, 16}, {33, 1}, {270, 3}},        // both, with prompts in chunks
  };
  const float tolerance = ToleranceOf(GetParam());
  WorkerPool pool(2);
  PagedAttention attention(*GetParam().kernels);
  ReferenceOps reference;
  RopeAppender appender;
  std::mt19937 random(kSeed);
  GridCases cases(7);
  int round = 0;
  const bool int4 = GetParam().types.key == KvDType::kInt4 || GetParam().types.value == KvDType::kInt4;
  for (int head_dim : int4 ? std::vector{32, 64, 96, 128, 160, 256} : std::vector{16, 64, 80, 96, 128, 256}) {
    for (int group : {1, 3, 4, 8}) {
      const Heads heads{round % 2 + 1, group, head_dim};
      const int page_size = 16 << round % 4;
      const int window = std::vector{0, 0, 1, 7, 300}[round % 5];
      const std::vector<SequenceShape>& shapes = kBatches[round % kBatches.size()];
      ++round;
      if (!cases.Takes()) continue;
      SCOPED_TRACE(absl::StrCat("seed ", kSeed, " head_dim ", head_dim, " group ", group, " page ", page_size,
                                " window ", window, " round ", round));
      const int num_pages = PagesFor(shapes, page_size) + 2;
      const KvLayout layout{.num_layers = 2,
                            .num_kv_heads = heads.kv_heads,
                            .head_dim = head_dim,
                            .page_size = page_size,
                            .num_pages = num_pages,
                            .key_dtype = GetParam().types.key,
                            .value_dtype = GetParam().types.value};
      const std::unique_ptr<CpuKvCache> cache = PoisonedCache(layout);
      const std::unique_ptr<KvCache> reference_cache = reference.AllocateKvCache(layout).value();
      const PagedBatch everything(AllTokens(shapes), page_size, num_pages, random);
      Matrix qkv = RandomMatrix(everything.view().num_tokens(), heads.qkv_cols(), random);
      RopeAppendArgs append = AppendWithoutRotation(qkv, heads, everything, cache.get());
      append.layer = 1;
      appender.Run(append, pool);
      append.kv_cache = reference_cache.get();
      reference.RopeAppend(append);

      const PagedBatch batch = everything.WithQueries(shapes);
      Matrix queries = RowsOfQueries(qkv, shapes);
      Matrix output(queries.rows, heads.num_heads() * head_dim);
      Matrix expected = output;
      AttentionArgs args = AttentionOver(queries, heads, batch, cache.get(), output);
      args.sliding_window = window;
      args.layer = 1;
      const float sharpness = round % 4 == 0 ? 6 : 1;  // Scores far apart, and their errors as much larger.
      args.scale *= sharpness;
      attention.Run(args, pool);
      args.kv_cache = reference_cache.get();
      args.output = expected.view();
      reference.Attention(args);
      ExpectNear(output, expected, tolerance * sharpness);
    }
  }
}

// One sequence computed in many ways: every way must give every token the same bits.
class CpuAttentionBits : public CpuAttentionTest {
 protected:
  static constexpr int kTokens = 530;  // Two chunks and a piece.

  CpuAttentionBits() : random_(kSeed), qkv_(RandomMatrix(kTokens, heads_.qkv_cols(), random_)) {}

  struct Way {
    int page_size = 16;
    int chunk_tokens = kTokens;
    int num_workers = 1;
    std::vector<SequenceShape> neighbours = {};
  };

  // The sequence's output, computed beside other sequences in every call.
  std::vector<float> Compute(const Way& way, int window, float neighbours_value = 1) {
    std::vector<SequenceShape> shapes = way.neighbours;
    shapes.insert(shapes.begin() + shapes.size() / 2, SequenceShape{kTokens, kTokens});
    const int num_pages = PagesFor(shapes, way.page_size);
    const KvLayout layout{.num_layers = 1,
                          .num_kv_heads = heads_.kv_heads,
                          .head_dim = heads_.head_dim,
                          .page_size = way.page_size,
                          .num_pages = num_pages,
                          .key_dtype = GetParam().types.key,
                          .value_dtype = GetParam().types.value};
    const std::unique_ptr<CpuKvCache> cache = PoisonedCache(layout);
    const PagedBatch pages(AllTokens(shapes), way.page_size, num_pages, random_);
    WorkerPool pool(way.num_workers);
    PagedAttention attention(*GetParam().kernels);
    RopeAppender appender;
    std::vector<float> result;
    for (int begin = 0; begin < kTokens; begin += way.chunk_tokens) {
      shapes[way.neighbours.size() / 2] = {std::min(kTokens, begin + way.chunk_tokens),
                                           std::min(kTokens - begin, way.chunk_tokens)};
      const PagedBatch batch = pages.WithQueries(shapes);
      const int first = batch.view().query_start[way.neighbours.size() / 2];
      const int count = shapes[way.neighbours.size() / 2].num_queries;
      Matrix rows(batch.view().num_tokens(), qkv_.cols);
      std::fill(rows.data.begin(), rows.data.end(), neighbours_value);
      std::copy_n(qkv_.Row(begin), count * qkv_.cols, rows.Row(first));
      Matrix output(rows.rows, heads_.num_heads() * heads_.head_dim);
      appender.Run(AppendWithoutRotation(rows, heads_, batch, cache.get()), pool);
      AttentionArgs args = AttentionOver(rows, heads_, batch, cache.get(), output);
      args.sliding_window = window;
      attention.Run(args, pool);
      result.insert(result.end(), output.Row(first), output.Row(first + count));
    }
    return result;
  }

  Heads heads_{.kv_heads = 2, .group = 3, .head_dim = 32};
  std::mt19937 random_;
  Matrix qkv_;
};

TEST_P(CpuAttentionBits, DoNotDependOnHowAPromptIsCut) {
  SCOPED_TRACE(kSeed);
  GridCases cases(5);
  for (int window : {0, 90, 300}) {
    const std::vector<float> whole = Compute({}, window);
    for (int chunk_tokens : {1, 7, 100, 256}) {
      if (!cases.Takes()) continue;
      EXPECT_TRUE(Compute({.chunk_tokens = chunk_tokens}, window) == whole) << chunk_tokens << " window " << window;
    }
  }
}

TEST_P(CpuAttentionBits, DoNotDependOnPageSizeOrWorkers) {
  SCOPED_TRACE(kSeed);
  const std::vector<float> alone = Compute({}, 0);
  GridCases cases(5);
  for (int page_size : {16, 32, 64, 128}) {
    for (int num_workers : {8, 1, 3}) {
      if (!cases.Takes()) continue;
      const Way way{.page_size = page_size, .chunk_tokens = 233, .num_workers = num_workers};
      EXPECT_TRUE(Compute(way, 0) == alone) << "page size " << page_size << ", " << num_workers << " workers";
    }
  }
}

TEST_P(CpuAttentionBits, DoNotDependOnNeighboursEvenNaN) {
  SCOPED_TRACE(kSeed);
  const std::vector<float> alone = Compute({}, 0);
  EXPECT_TRUE(std::ranges::all_of(alone, [](float x) { return std::isfinite(x); }));
  const std::vector<SequenceShape> decodes = {{1, 1}, {40, 1}, {300, 1}, {999, 1}};
  const std::vector<SequenceShape> prefills = {{50, 50}, {400, 99}, {513, 2}};
  GridCases cases(3);
  for (float value : {1.0f, kNaN}) {
    for (int num_workers : {4, 1}) {
      if (!cases.Takes()) continue;
      EXPECT_TRUE(Compute({.chunk_tokens = 64, .num_workers = num_workers, .neighbours = decodes}, 0, value) == alone);
      EXPECT_TRUE(Compute({.chunk_tokens = 350, .num_workers = num_workers, .neighbours = prefills}, 0, value) ==
                  alone);
    }
  }
}

// Two rows of one tile: the later token's K and V must not reach the earlier one, whatever they are.
TEST_P(CpuAttentionBits, DoNotDependOnLaterTokens) {
  SCOPED_TRACE(kSeed);
  const std::vector<float> before = Compute({}, 0);
  GridCases cases(5);
  for (int poisoned : {1, 254, 255, 256, 528, 529}) {
    if (!cases.Takes()) continue;
    const Matrix saved = qkv_;
    std::fill(qkv_.Row(poisoned), qkv_.Row(poisoned + 1), kNaN);
    const std::vector<float> after = Compute({}, 0);
    const int64_t unchanged = int64_t{poisoned} * heads_.num_heads() * heads_.head_dim;
    EXPECT_TRUE(std::equal(before.begin(), before.begin() + unchanged, after.begin())) << poisoned;
    EXPECT_TRUE(std::isnan(after[unchanged])) << poisoned;
    qkv_ = saved;
  }
}

// Sequences with common beginnings, whose common tokens have the same K and V. On pages of their own or on common ones,
// every query must get the same bits.
class CpuAttentionSharing : public CpuAttentionTest {
 protected:
  std::vector<float> Compute(const std::vector<SequenceShape>& shapes, int page_size, int window, int num_workers) {
    std::mt19937 random(kSeed);
    Matrix qkv = RandomMatrix(TotalTokens(), heads_.qkv_cols(), random);
    const int num_pages = PagesFor(shapes, page_size);
    const KvLayout layout{.num_layers = 1,
                          .num_kv_heads = heads_.kv_heads,
                          .head_dim = heads_.head_dim,
                          .page_size = page_size,
                          .num_pages = num_pages,
                          .key_dtype = GetParam().types.key,
                          .value_dtype = GetParam().types.value};
    const std::unique_ptr<CpuKvCache> cache = PoisonedCache(layout);
    const PagedBatch everything(AllTokens(shapes), page_size, num_pages, random);
    WorkerPool appending_pool(1);  // Common slots are written more than once.
    RopeAppender appender;
    const std::span<const int32_t> starts = everything.view().query_start;
    for (size_t s = 1; s < shapes_.size(); ++s) {
      std::copy_n(qkv.Row(starts[s - 1]), shapes_[s].num_shared * qkv.cols, qkv.Row(starts[s]));
    }
    appender.Run(AppendWithoutRotation(qkv, heads_, everything, cache.get()), appending_pool);

    const PagedBatch batch = everything.WithQueries(shapes);
    Matrix queries = RowsOfQueries(qkv, shapes);
    Matrix output(queries.rows, heads_.num_heads() * heads_.head_dim);
    AttentionArgs args = AttentionOver(queries, heads_, batch, cache.get(), output);
    args.sliding_window = window;
    WorkerPool pool(num_workers);
    PagedAttention(*GetParam().kernels).Run(args, pool);
    return output.data;
  }

  int64_t TotalTokens() const {
    int64_t tokens = 0;
    for (const SequenceShape& shape : shapes_) tokens += shape.context_len;
    return tokens;
  }

  Heads heads_{.kv_heads = 2, .group = 3, .head_dim = 32};
  // Three families, with members that share less than others, short pieces of prompts, and one of many tiles.
  std::vector<SequenceShape> shapes_ = {{1100, 1}, {1030, 1, 1024}, {600, 1, 512},  {513, 1, 512},
                                        {300, 1},  {290, 1, 256},   {600, 40, 256}, {512, 20, 256},
                                        {257, 1},  {257, 1, 256},   {40, 1}};
};

TEST_P(CpuAttentionSharing, LeavesTheBitsAsTheyAre) {
  SCOPED_TRACE(kSeed);
  std::vector<SequenceShape> own = shapes_;
  for (SequenceShape& shape : own) shape.num_shared = 0;
  GridCases cases(3);
  for (int window : {90, 0, 300}) {
    if (!cases.Takes()) continue;
    const std::vector<float> expected = Compute(own, 16, window, 1);
    EXPECT_TRUE(std::ranges::all_of(expected, [](float x) { return std::isfinite(x); }));
    GridCases ways(3);
    for (int page_size : {16, 128}) {
      for (int num_workers : {5, 1}) {
        if (!ways.Takes()) continue;
        EXPECT_TRUE(Compute(shapes_, page_size, window, num_workers) == expected)
            << "page size " << page_size << ", window " << window << ", " << num_workers << " workers";
      }
    }
  }
}

std::vector<Tested> Everything() {
  std::vector<Tested> everything;
  for (const AttentionKernels* kernels : AttentionKernelsFor(SupportedInstructionSets().back())) {
    for (const KvTypes& types : kEveryKv) everything.push_back({kernels, types});
  }
  return everything;
}

std::string Name(const testing::TestParamInfo<Tested>& info) {
  return absl::StrCat(info.param.kernels->name, "_", NameOf(info.param.types));
}

INSTANTIATE_TEST_SUITE_P(EveryInstructionSet, CpuAttentionTest, testing::ValuesIn(Everything()), Name);
INSTANTIATE_TEST_SUITE_P(EveryInstructionSet, CpuAttentionBits, testing::ValuesIn(Everything()), Name);
INSTANTIATE_TEST_SUITE_P(EveryInstructionSet, CpuAttentionSharing, testing::ValuesIn(Everything()), Name);

}  // namespace
}  // namespace quire
