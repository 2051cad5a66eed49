#include "kernels/cuda/attention.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <memory>
#include <random>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/cuda_shim/control.h"
#include "tests/kernels/cpu/paged_batch.h"
#include "tests/kernels/cuda/cuda_fixture.h"
#include "tests/reference/reference_ops.h"
#include "tests/sanitized.h"

namespace quire {
namespace {

constexpr uint32_t kSeed = 20260301;
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

std::vector<SequenceShape> AllTokens(std::vector<SequenceShape> shapes) {
  for (SequenceShape& shape : shapes) shape.num_queries = shape.context_len;
  return shapes;
}

KvLayout LayoutOf(const Heads& heads, const KvTypes& types, int page_size, int num_pages) {
  return {.num_layers = 2,
          .num_kv_heads = heads.kv_heads,
          .head_dim = heads.head_dim,
          .page_size = page_size,
          .num_pages = num_pages,
          .key_dtype = types.key,
          .value_dtype = types.value};
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

// Gives tokens on pages of the sequence before the same Q, K and V as there.
void RepeatShared(const std::vector<SequenceShape>& shapes, const PagedBatchView& everything, Matrix& qkv) {
  for (size_t s = 1; s < shapes.size(); ++s) {
    std::copy_n(qkv.Row(everything.query_start[s - 1]), shapes[s].num_shared * qkv.cols,
                qkv.Row(everything.query_start[s]));
  }
}

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

// One case: appends everything to both caches, and compares the attention of some queries.
void CompareWithReference(const Heads& heads, const KvTypes& types, int page_size,
                          const std::vector<SequenceShape>& shapes, int window, float sharpness, std::mt19937& random) {
  const int num_pages = PagesFor(shapes, page_size) + 2;
  const KvLayout layout = LayoutOf(heads, types, page_size, num_pages);
  PoisonedCudaCache cache(layout);
  ReferenceOps reference;
  const std::unique_ptr<KvCache> reference_cache = reference.AllocateKvCache(layout).value();
  const PagedBatch everything(AllTokens(shapes), page_size, num_pages, random);
  Matrix qkv = RandomMatrix(everything.view().num_tokens(), heads.qkv_cols(), random);
  RepeatShared(shapes, everything.view(), qkv);
  AppendToCuda(qkv, heads, everything.view(), cache.Layer(1));
  RopeAppendArgs append;
  append.qkv = qkv.view();
  append.num_heads = heads.num_heads();
  append.layer = 1;
  append.kv_cache = reference_cache.get();
  append.batch = everything.view();
  reference.RopeAppend(append);

  const PagedBatch batch = everything.WithQueries(shapes);
  Matrix queries = RowsOfQueries(qkv, shapes);
  const float scale = sharpness / std::sqrt(static_cast<float>(heads.head_dim));
  const CudaAttentionCall call{.heads = heads, .scale = scale, .sliding_window = window, .num_workers = 6};
  const Matrix output = AttendOnCuda(queries, batch.view(), cache.Layer(1), call);
  Matrix expected(output.rows, output.cols);
  AttentionArgs args;
  args.qkv = queries.view();
  args.num_heads = heads.num_heads();
  args.scale = scale;
  args.sliding_window = window;
  args.layer = 1;
  args.kv_cache = reference_cache.get();
  args.batch = batch.view();
  args.output = expected.view();
  reference.Attention(args);
  // Queries and weights are rounded to bfloat16, half a part in 256 of each.
  ExpectNear(output, expected, 2e-2f * sharpness);
}

TEST(CudaAttention, AgreesWithTheReferenceOnRaggedBatches) {
  const std::vector<std::vector<SequenceShape>> kBatches = {
      {{1, 1}, {2, 1}, {17, 1}, {64, 1}, {65, 1}, {1300, 1}},  // decode
      {{1, 1}, {5, 5}, {70, 70}, {130, 130}},                  // prefill
      {{600, 1}, {530, 25}, {16, 16}, {33, 1}, {270, 3}},      // both, with prompts in chunks
      {{560, 1}, {530, 1, 512}, {520, 2, 512}, {700, 4}},      // on common pages
  };
  std::mt19937 random(kSeed);
  GridCases cases(11);
  int round = 0;
  for (const int head_dim : {64, 128, 16, 80, 96, 112, 192, 256}) {
    for (const int group : {1, 3, 4, 7, 16}) {
      const Heads heads{round % 3 == 2 ? 2 : 1, group, head_dim};
      const KvTypes& types = kCudaKv[round % std::size(kCudaKv)];
      const std::vector<SequenceShape>& shapes = kBatches[round % kBatches.size()];
      const int page_size = std::vector{16, 32, 64, 128, 256}[round % 5];
      const bool has_shared = shapes[1].num_shared > 0;
      const int window = std::vector{0, 0, 0, 1, 7, 300, 0}[round % 7];
      ++round;
      if (!cases.Takes()) continue;
      SCOPED_TRACE(absl::StrCat("seed ", kSeed, " head_dim ", head_dim, " group ", group, " page ", page_size,
                                " window ", window, " ", NameOf(types), " round ", round));
      CompareWithReference(heads, types, has_shared ? 64 : page_size, shapes, window, round % 4 == 0 ? 6 : 1, random);
    }
  }
}

TEST(CudaAttention, AgreesWithTheReferenceForEveryPairOfTypesAndOddPages) {
  std::mt19937 random(kSeed);
  for (const KvTypes& types : kCudaKv) {
    for (const int page_size : {48, 1024}) {
      SCOPED_TRACE(absl::StrCat("seed ", kSeed, " page ", page_size, " ", NameOf(types)));
      CompareWithReference({1, 2, 80}, types, page_size, {{200, 3}, {99, 20}, {530, 1}}, 0, 1, random);
    }
  }
}

// One sequence computed in many ways: every way must give every token the same bits.
class CudaAttentionBits : public testing::TestWithParam<KvTypes> {
 protected:
  static constexpr int kTokens = 540;  // A split and a piece.

  CudaAttentionBits() : random_(kSeed), qkv_(RandomMatrix(kTokens, heads_.qkv_cols(), random_)) {}

  struct Way {
    int page_size = 16;
    int first_chunk = kTokens;   // Tokens of the first call
    int chunk_tokens = kTokens;  // and of those after it.
    int num_workers = 1;
    std::vector<SequenceShape> neighbours = {};
    int spare_room = 0;
  };

  // The sequence's output, computed beside other sequences in every call.
  std::vector<float> Compute(const Way& way, int window, float neighbours_value = 1) {
    std::vector<SequenceShape> shapes = way.neighbours;
    const size_t place = shapes.size() / 2;
    shapes.insert(shapes.begin() + place, SequenceShape{kTokens, kTokens});
    const int num_pages = PagesFor(shapes, way.page_size);
    PoisonedCudaCache cache(LayoutOf(heads_, GetParam(), way.page_size, num_pages));
    const PagedBatch pages(AllTokens(shapes), way.page_size, num_pages, random_);
    std::vector<float> result;
    for (int begin = 0, count; begin < kTokens; begin += count) {
      count = std::min(kTokens - begin, begin == 0 ? way.first_chunk : way.chunk_tokens);
      shapes[place] = {begin + count, count};
      const PagedBatch batch = pages.WithQueries(shapes);
      const int first = batch.view().query_start[place];
      Matrix rows(batch.view().num_tokens(), qkv_.cols);
      std::fill(rows.data.begin(), rows.data.end(), neighbours_value);
      std::copy_n(qkv_.Row(begin), count * qkv_.cols, rows.Row(first));
      AppendToCuda(rows, heads_, batch.view(), cache.Layer(0));
      const CudaAttentionCall call{
          .heads = heads_, .sliding_window = window, .num_workers = way.num_workers, .spare_room = way.spare_room};
      Matrix output = AttendOnCuda(rows, batch.view(), cache.Layer(0), call);
      result.insert(result.end(), output.Row(first), output.Row(first + count));
    }
    return result;
  }

  Heads heads_{.kv_heads = 1, .group = 3, .head_dim = 32};
  std::mt19937 random_;
  Matrix qkv_;
};

TEST_P(CudaAttentionBits, DoNotDependOnHowAPromptIsCut) {
  SCOPED_TRACE(kSeed);
  GridCases cases(2);
  for (const int window : {90, 0}) {
    if (!cases.Takes()) continue;
    const std::vector<float> whole = Compute({}, window);
    EXPECT_TRUE(std::ranges::all_of(whole, [](float x) { return std::isfinite(x); }));
    for (const int chunk_tokens : {7, 100, 256}) {
      const Way way{.first_chunk = chunk_tokens, .chunk_tokens = chunk_tokens, .num_workers = 4};
      EXPECT_TRUE(Compute(way, window) == whole) << chunk_tokens << " window " << window;
    }
    // Token by token, through the end of a split.
    EXPECT_TRUE(Compute({.first_chunk = 480, .chunk_tokens = 1, .num_workers = 4}, window) == whole);
  }
}

// Rows that a prompt has in large items, and generated tokens in small ones of up to 8 rows or more.
TEST_P(CudaAttentionBits, DoNotDependOnTheSizeOfItems) {
  SCOPED_TRACE(kSeed);
  GridCases cases(2);
  for (const int head_dim : {80, 128}) {
    if (!cases.Takes()) continue;
    heads_ = {.kv_heads = 1, .group = 5, .head_dim = head_dim};
    qkv_ = RandomMatrix(kTokens, heads_.qkv_cols(), random_);
    const std::vector<float> whole = Compute({}, 0);
    for (const int chunk_tokens : {1, 3}) {
      const Way way{.first_chunk = 525, .chunk_tokens = chunk_tokens};
      EXPECT_TRUE(Compute(way, 0) == whole) << "head_dim " << head_dim << ", " << chunk_tokens << " tokens";
    }
  }
}

TEST_P(CudaAttentionBits, DoNotDependOnPageSizeOrWorkers) {
  SCOPED_TRACE(kSeed);
  const std::vector<float> alone = Compute({}, 0);
  GridCases cases(3);
  for (const int page_size : {48, 16, 64, 1024}) {
    if (!cases.Takes()) continue;
    const int num_workers = page_size == 48 ? 1000 : 3;
    const Way way{.page_size = page_size, .first_chunk = 233, .chunk_tokens = 233, .num_workers = num_workers};
    EXPECT_TRUE(Compute(way, 0) == alone) << "page size " << page_size << ", " << num_workers << " workers";
  }
}

TEST_P(CudaAttentionBits, DoNotDependOnTheRoomOfALaunch) {
  SCOPED_TRACE(kSeed);
  const std::vector<float> alone = Compute({}, 0);
  // Items of both sizes, and cut tokens.
  const Way roomy{.first_chunk = 500, .chunk_tokens = 5, .num_workers = 4, .neighbours = {{999, 1}}, .spare_room = 5};
  EXPECT_TRUE(Compute(roomy, 0) == alone);
}

TEST_P(CudaAttentionBits, DoNotDependOnTheOrderOfBlocksAndThreads) {
  SCOPED_TRACE(kSeed);
  const std::vector<float> expected = Compute({.num_workers = 1000}, 0);
  GridCases cases(2);
  for (const uint64_t order : {1, 2, 3}) {
    if (!cases.Takes()) continue;
    cuda_shim::SetSchedulingSeed(order);
    EXPECT_TRUE(Compute({.num_workers = 1000}, 0) == expected) << order;
  }
  cuda_shim::Reset();
}

TEST_P(CudaAttentionBits, DoNotDependOnNeighboursEvenNaN) {
  SCOPED_TRACE(kSeed);
  const std::vector<float> alone = Compute({}, 0);
  const std::vector<SequenceShape> decodes = {{1, 1}, {40, 1}, {300, 1}, {999, 1}};
  const std::vector<SequenceShape> prefills = {{50, 50}, {400, 99}, {513, 2}};
  GridCases cases(2);
  for (const float value : {kNaN, 1.0f}) {
    if (!cases.Takes()) continue;
    const Way decode{.first_chunk = 500, .chunk_tokens = 40, .num_workers = 4, .neighbours = decodes};
    EXPECT_TRUE(Compute(decode, 0, value) == alone) << value;
    const Way prefill{.first_chunk = 350, .chunk_tokens = 350, .num_workers = 2, .neighbours = prefills};
    EXPECT_TRUE(Compute(prefill, 0, value) == alone) << value;
  }
}

// Rows of one tile: the later token's K and V must not reach the earlier one, whatever they are.
TEST_P(CudaAttentionBits, DoNotDependOnLaterTokens) {
  SCOPED_TRACE(kSeed);
  const std::vector<float> before = Compute({}, 0);
  GridCases cases(4);
  for (const int poisoned : {1, 63, 200, 511, 512, 538}) {
    if (!cases.Takes()) continue;
    const Matrix saved = qkv_;
    std::fill(qkv_.Row(poisoned), qkv_.Row(poisoned + 1), kNaN);
    const std::vector<float> after = Compute({}, 0);
    const int64_t unchanged = int64_t{poisoned} * heads_.num_heads() * heads_.head_dim;
    EXPECT_TRUE(std::equal(before.begin(), before.begin() + unchanged, after.begin())) << poisoned;
    EXPECT_TRUE(std::all_of(after.begin() + unchanged, after.end(), [](float x) { return std::isnan(x); }));
    qkv_ = saved;
  }
}

// One element of a value that is not finite makes NaN of all that see the token, and of nobody else, in any tile.
TEST_P(CudaAttentionBits, DoNotDependOnTheTileWhereAValueIsNotFinite) {
  SCOPED_TRACE(kSeed);
  const std::vector<float> before = Compute({}, 0);
  *(qkv_.Row(300 + 1) - 3) = std::numeric_limits<float>::infinity();
  const std::vector<float> whole = Compute({}, 0);
  const std::vector<float> cut = Compute({.first_chunk = 290, .chunk_tokens = 17}, 0);
  const int64_t unchanged = int64_t{300} * heads_.num_heads() * heads_.head_dim;
  for (const std::vector<float>& after : {whole, cut}) {
    EXPECT_TRUE(std::equal(before.begin(), before.begin() + unchanged, after.begin()));
    EXPECT_TRUE(std::all_of(after.begin() + unchanged, after.end(), [](float x) { return std::isnan(x); }));
  }
}

INSTANTIATE_TEST_SUITE_P(, CudaAttentionBits,
                         testing::Values(kBFloat16Kv, kInt8Kv, KvTypes{KvDType::kFp8, KvDType::kInt8}),
                         [](const auto& tested) { return NameOf(tested.param); });

// Sequences with common beginnings, whose common tokens have the same K and V. On pages of their own or on common ones,
// every query must get the same bits.
TEST(CudaAttention, GivesTheSameBitsOnCommonPages) {
  const Heads heads{.kv_heads = 2, .group = 3, .head_dim = 32};
  const std::vector<SequenceShape> shapes = {{1100, 1}, {1030, 1, 1024}, {1200, 3, 1024}, {600, 1, 512},
                                             {600, 1},  {590, 40, 512},  {512, 20, 512},  {40, 1}};
  std::vector<SequenceShape> own = shapes;
  for (SequenceShape& shape : own) shape.num_shared = 0;
  const auto compute = [&](const std::vector<SequenceShape>& placed, int page_size, int window, bool share_pages) {
    std::mt19937 random(kSeed);
    int total = 0;
    for (const SequenceShape& shape : shapes) total += shape.context_len;
    Matrix qkv = RandomMatrix(total, heads.qkv_cols(), random);
    const int num_pages = PagesFor(placed, page_size);
    PoisonedCudaCache cache(LayoutOf(heads, kBFloat16Kv, page_size, num_pages));
    const PagedBatch everything(AllTokens(placed), page_size, num_pages, random);
    RepeatShared(shapes, everything.view(), qkv);
    AppendToCuda(qkv, heads, everything.view(), cache.Layer(0));
    const PagedBatch batch = everything.WithQueries(placed);
    Matrix queries = RowsOfQueries(qkv, placed);
    const CudaAttentionCall call{
        .heads = heads, .sliding_window = window, .num_workers = page_size, .share_pages = share_pages};
    return AttendOnCuda(queries, batch.view(), cache.Layer(0), call).data;
  };
  SCOPED_TRACE(kSeed);
  GridCases cases(3);
  for (const int window : {90, 0, 700}) {
    if (!cases.Takes()) continue;
    const std::vector<float> expected = compute(own, 16, window, true);
    EXPECT_TRUE(std::ranges::all_of(expected, [](float x) { return std::isfinite(x); }));
    EXPECT_TRUE(compute(shapes, 16, window, true) == expected) << window;
    EXPECT_TRUE(compute(shapes, 128, window, true) == expected) << window;
    EXPECT_TRUE(compute(shapes, 128, window, false) == expected) << window;
  }
}

}  // namespace
}  // namespace quire
