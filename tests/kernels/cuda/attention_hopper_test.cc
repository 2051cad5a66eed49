#include "kernels/cuda/attention_hopper.h"

#include <gtest/gtest.h>

#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/cuda_shim/control.h"
#include "tests/kernels/cpu/paged_batch.h"
#include "tests/kernels/cuda/cuda_fixture.h"
#include "tests/sanitized.h"

namespace quire {
namespace {

constexpr uint32_t kSeed = 20261128;

// On devices that have the kernel, against the one for all devices, which has tests of its own.
class CudaHopperAttention : public testing::Test {
 protected:
  void SetUp() override {
    cuda_shim::SetHopper(true);
    if (!HasHopperAttention(128, KvDType::kBF16, KvDType::kBF16)) GTEST_SKIP() << "not on this device";
  }
  void TearDown() override { cuda_shim::SetHopper(false); }

  // Of contexts whose `num_unsound` tokens, at random places, have a value that is not finite.
  void ExpectTheBitsOfThePortableKernel(CudaAttentionCall call, int page_size, const std::vector<SequenceShape>& shapes,
                                        int num_unsound = 0) {
    const Heads& heads = call.heads;
    const int num_pages = PagesFor(shapes, page_size) + 2;
    PoisonedCudaCache cache({.num_layers = 1,
                             .num_kv_heads = heads.kv_heads,
                             .head_dim = heads.head_dim,
                             .page_size = page_size,
                             .num_pages = num_pages});
    std::vector<SequenceShape> whole = shapes;
    for (SequenceShape& shape : whole) shape.num_queries = shape.context_len;
    const PagedBatch everything(whole, page_size, num_pages, random_);
    Matrix qkv = RandomMatrix(everything.view().num_tokens(), heads.qkv_cols(), random_);
    for (int i = 0; i < num_unsound; ++i) {
      const int64_t token = std::uniform_int_distribution<int64_t>(0, qkv.rows - 1)(random_);
      qkv.Row(token)[qkv.cols - 1] = std::numeric_limits<float>::infinity();
    }
    AppendToCuda(qkv, heads, everything.view(), cache.Layer(0));

    const PagedBatch batch = everything.WithQueries(shapes);
    Matrix queries = RandomMatrix(batch.view().num_tokens(), int64_t{heads.num_heads()} * heads.head_dim, random_);
    const Matrix output = AttendOnCuda(queries, batch.view(), cache.Layer(0), call);
    call.portable = true;
    const Matrix expected = AttendOnCuda(queries, batch.view(), cache.Layer(0), call);
    int64_t num_different = 0;
    for (size_t i = 0; i < expected.data.size(); ++i) {
      if (std::memcmp(&output.data[i], &expected.data[i], sizeof(float)) != 0) ++num_different;
    }
    EXPECT_EQ(num_different, 0) << "of " << expected.data.size();
  }

  std::mt19937 random_{kSeed};
};

TEST_F(CudaHopperAttention, HasTheBitsOfThePortableKernelOnRaggedBatches) {
  const std::vector<std::vector<SequenceShape>> kBatches = {
      {{1, 1}, {5, 5}, {70, 70}, {130, 130}},                 // prompts
      {{600, 1}, {530, 25}, {16, 16}, {33, 1}, {270, 3}},     // chunks of prompts, and generated tokens
      {{560, 20}, {530, 10, 512}, {520, 22, 512}, {700, 4}},  // on common pages
      {{2100, 900}, {1500, 37}, {65, 65}},                    // several splits
      {{513, 513}, {4000, 40}},                               // a long context, which is cut
  };
  GridCases cases(3);
  int round = 0;
  for (const int head_dim : {64, 128}) {
    for (const int group : {1, 3, 4, 8}) {
      for (const int page_size : {16, 32, 64, 48}) {
        // Emulation is slow: some rounds, of all batches.
        if (cuda_shim::IsEmulated() && (round % 6 != 1 || !cases.Takes())) {
          ++round;
          continue;
        }
        const std::vector<SequenceShape>& shapes = kBatches[round % kBatches.size()];
        const bool has_shared = shapes[1].num_shared > 0;
        const CudaAttentionCall call{.heads = {1 + round % 3, group, head_dim},
                                     .scale = round % 3 == 0 ? 1.0f : 0.0f,
                                     .sliding_window = std::vector{0, 0, 90, 0, 700, 1, 300}[round % 7],
                                     .num_workers = round % 2 == 0 ? 1000 : 1,
                                     .spare_room = round % 4};
        SCOPED_TRACE(absl::StrCat("seed ", kSeed, " round ", round, ": head_dim ", head_dim, " group ", group, " page ",
                                  page_size, " window ", call.sliding_window));
        ExpectTheBitsOfThePortableKernel(call, has_shared ? 64 : page_size, shapes);
        ++round;
      }
    }
  }
}

// A row that sees such a token becomes NaN, and no other row changes.
TEST_F(CudaHopperAttention, HasTheBitsOfThePortableKernelWhereValuesAreNotFinite) {
  GridCases cases(3);
  for (const int head_dim : {64, 128}) {
    for (const int window : {0, 40}) {
      if (!cases.Takes()) continue;
      SCOPED_TRACE(absl::StrCat("seed ", kSeed, " head_dim ", head_dim, " window ", window));
      const CudaAttentionCall call{.heads = {2, 4, head_dim}, .sliding_window = window};
      ExpectTheBitsOfThePortableKernel(call, 32, {{700, 700}, {90, 30}, {1300, 50}}, 6);
    }
  }
}

}  // namespace
}  // namespace quire
