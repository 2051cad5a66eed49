// Steps as graphs give the bits that launches give, whatever comes between them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "engine/model/decoder.h"
#include "engine/model/loaded_model.h"
#include "kernels/cuda/cuda_ops.h"
#include "tests/cuda_shim/control.h"
#include "tests/engine/model/test_model.h"
#include "tests/fakes/tiny_model.h"
#include "tests/kernels/cuda/test_ops.h"
#include "tests/sanitized.h"

namespace quire {
namespace {

using cuda_shim::Call;

constexpr int kPageSize = 16;
constexpr int kNumPages = 100;

// A decoder of the tiny model on a device, as the runner drives it.
class DeviceModel {
 public:
  explicit DeviceModel(CudaOptions options, KvDType kv_dtype = KvDType::kBF16)
      : ops_(MakeTestOps(std::move(options))),
        model_(LoadModel(WriteTinyModel({.dtype = DType::kQ4_1}), *ops_, nullptr).value()),
        kv_cache_(ops_->AllocateKvCache({.num_layers = model_.config.num_layers,
                                         .num_heads = model_.config.num_heads,
                                         .num_kv_heads = model_.config.num_kv_heads,
                                         .head_dim = model_.config.head_dim,
                                         .page_size = kPageSize,
                                         .num_pages = kNumPages,
                                         .key_dtype = kv_dtype,
                                         .value_dtype = kv_dtype})
                      .value()),
        decoder_(Decoder::Make(model_.config, model_.weights, *ops_, *kv_cache_, kMaxTestTokens).value()) {}

  // Logits of each sequence's last token.
  absl::StatusOr<Logits> Run(const Batch& batch) {
    decoder_->Forward(batch);
    std::vector<int32_t> rows;
    for (size_t s = 1; s < batch.query_start.size(); ++s) rows.push_back(batch.query_start[s] - 1);
    const MatrixView<const float> logits = ops_->ToHost(decoder_->Logits(rows));
    if (absl::Status status = ops_->Synchronize(); !status.ok()) return status;
    Logits result;
    for (int64_t i = 0; i < logits.rows; ++i) result.emplace_back(logits.Row(i), logits.Row(i) + logits.cols);
    return result;
  }

  const CudaStepCounts& counts() const { return ops_->step_counts(); }

 private:
  std::unique_ptr<CudaOps> ops_;
  LoadedModel model_;
  std::unique_ptr<KvCache> kv_cache_;
  std::unique_ptr<Decoder> decoder_;
};

struct TestSequence {
  std::vector<TokenId> tokens;
  std::vector<int32_t> pages;
  int num_computed = 0;
};

// The next tokens of each of the sequences.
Batch NextStep(std::span<TestSequence* const> sequences, int num_tokens = 1) {
  Batch batch;
  batch.query_start = batch.block_indptr = {0};
  for (TestSequence* sequence : sequences) {
    const int end = std::min(sequence->num_computed + num_tokens, static_cast<int>(sequence->tokens.size()));
    for (int& i = sequence->num_computed; i < end; ++i) {
      batch.token_ids.push_back(sequence->tokens[i]);
      batch.positions.push_back(i);
      batch.slot_mapping.push_back(sequence->pages[i / kPageSize] * kPageSize + i % kPageSize);
    }
    const auto used = sequence->pages.begin() + (end + kPageSize - 1) / kPageSize;
    batch.block_indices.insert(batch.block_indices.end(), sequence->pages.begin(), used);
    batch.query_start.push_back(batch.num_tokens());
    batch.context_lens.push_back(end);
    batch.block_indptr.push_back(static_cast<int32_t>(batch.block_indices.size()));
  }
  return batch;
}

// Two long sequences, on the same pages up to a split, and short ones of a page each.
std::vector<TestSequence> Sequences() {
  std::vector<TestSequence> sequences(16);
  int32_t page = 0;
  for (size_t i = 0; i < sequences.size(); ++i) {
    const int num_tokens = i < 2 ? 600 : kPageSize;
    sequences[i].tokens = RandomTokens(num_tokens, static_cast<uint32_t>(i));
    while (sequences[i].pages.size() * kPageSize < sequences[i].tokens.size()) sequences[i].pages.push_back(page++);
  }
  constexpr int kShared = 512;
  std::copy_n(sequences[0].tokens.begin(), kShared, sequences[1].tokens.begin());
  std::copy_n(sequences[0].pages.begin(), kShared / kPageSize, sequences[1].pages.begin());
  return sequences;
}

class CudaGraphs : public testing::Test {
 protected:
  CudaGraphs() {
    cuda_shim::Reset();
    cuda_shim::SetDeferred(true);  // Nothing is done before somebody waits for it.
  }
  ~CudaGraphs() override { cuda_shim::Reset(); }

  // Runs a step on all models, which must agree.
  void Step(std::span<TestSequence* const> sequences, int num_tokens = 1) {
    const Batch batch = NextStep(sequences, num_tokens);
    const auto expected = by_launches_.Run(batch);
    const auto logits = by_graphs_.Run(batch);
    ASSERT_TRUE(expected.ok() && logits.ok()) << expected.status() << " " << logits.status();
    ASSERT_TRUE(*logits == *expected);
  }
  void Step(std::initializer_list<TestSequence*> sequences, int num_tokens = 1) {
    Step(std::span(sequences.begin(), sequences.size()), num_tokens);
  }

  DeviceModel by_launches_{{.record_steps = false}};
  DeviceModel by_graphs_{{.warn = [](const std::string& warning) { ADD_FAILURE() << warning; }}};
};

TEST_F(CudaGraphs, GiveTheBitsOfLaunchesWhileBatchesGrowAndShrink) {
  GridCases cases(2);
  for (const uint32_t seed : {1u, 2u}) {
    if (!cases.Takes()) continue;
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::mt19937 random(seed);
    std::vector<TestSequence> sequences = Sequences();
    while (sequences[0].num_computed < 560) ASSERT_NO_FATAL_FAILURE(Step({&sequences[0]}, 80));
    sequences[1].num_computed = 512;
    std::vector<TestSequence*> batch;
    for (int step = 0; step < 60; ++step) {
      SCOPED_TRACE(testing::Message() << "step " << step);
      const bool grows = step / 15 % 2 == 0;
      if (grows || batch.size() <= 1) {
        for (TestSequence& sequence : sequences) {
          if (std::ranges::find(batch, &sequence) == batch.end() && random() % 6 == 0) batch.push_back(&sequence);
        }
      } else {
        std::erase_if(batch, [&](TestSequence*) { return random() % 6 == 0; });
      }
      if (batch.empty()) continue;
      std::shuffle(batch.begin(), batch.end(), random);
      for (TestSequence* sequence : batch) {
        const bool is_over = sequence->num_computed == static_cast<int>(sequence->tokens.size());
        if (is_over) sequence->num_computed = sequence->tokens.size() > kPageSize ? 560 : 0;
      }
      ASSERT_NO_FATAL_FAILURE(Step(batch, random() % 8 == 0 ? 3 : 1));
    }
  }
  EXPECT_GT(by_graphs_.counts().graph_launches, kSanitized ? 20 : 40);
  EXPECT_LT(by_graphs_.counts().graphs_recorded, by_graphs_.counts().graph_launches / 2);
  EXPECT_EQ(by_launches_.counts().graph_launches, 0);
}

TEST_F(CudaGraphs, AreRecordedAtTheSecondStepOfASizeAndNotForPrompts) {
  std::vector<TestSequence> sequences = Sequences();
  TestSequence &a = sequences[2], &b = sequences[3], &c = sequences[4], &d = sequences[5];
  using Counts = std::pair<int64_t, int64_t>;
  const auto counts_after = [&](std::initializer_list<TestSequence*> batch, int num_tokens = 1) {
    Step(batch, num_tokens);
    return Counts(by_graphs_.counts().graphs_recorded, by_graphs_.counts().graph_launches);
  };
  EXPECT_EQ(counts_after({&a}, 7), Counts(0, 0));
  EXPECT_EQ(counts_after({&a}), Counts(0, 0));
  EXPECT_EQ(counts_after({&a}), Counts(1, 1));
  EXPECT_EQ(counts_after({&b}), Counts(1, 2));
  EXPECT_EQ(counts_after({&a, &b, &c}), Counts(1, 2));
  EXPECT_EQ(counts_after({&a, &b, &c, &d}), Counts(2, 3));
  EXPECT_EQ(counts_after({&a, &b, &c}), Counts(2, 4));
  EXPECT_EQ(counts_after({&a, &b, &c}, 2), Counts(2, 4));
  EXPECT_EQ(by_graphs_.counts().steps, 8);
}

TEST_F(CudaGraphs, AreRecordedAgainWhenWhatTheyReferToHasMoved) {
  std::vector<TestSequence> sequences = Sequences();
  for (int i = 0; i < 3; ++i) ASSERT_NO_FATAL_FAILURE(Step({&sequences[2]}));
  EXPECT_EQ(by_graphs_.counts().graphs_recorded, 1);
  // The first whose context is cut, so that there are states to be kept.
  while (sequences[0].num_computed < 560) ASSERT_NO_FATAL_FAILURE(Step({&sequences[0]}, 80));
  ASSERT_NO_FATAL_FAILURE(Step({&sequences[2]}));
  EXPECT_EQ(by_graphs_.counts().graphs_recorded, 2);
  ASSERT_NO_FATAL_FAILURE(Step({&sequences[2]}));
  EXPECT_EQ(by_graphs_.counts().graphs_recorded, 2);
}

TEST_F(CudaGraphs, GiveWayToLaunchesWhenOneCannotBeMade) {
  if (!cuda_shim::IsEmulated()) GTEST_SKIP() << "only the emulated device can be made to fail";
  // Recording begins and ends, the graph is made ready, and launched: four calls.
  for (int after = 0; after < 5; ++after) {
    SCOPED_TRACE(after);
    std::vector<std::string> warnings;
    DeviceModel model({.warn = [&](const std::string& warning) { warnings.push_back(warning); }});
    std::vector<TestSequence> sequences = Sequences();
    cuda_shim::FailNext(Call::kGraph, cudaErrorMemoryAllocation, after);
    for (int step = 0; step < 4; ++step) {
      TestSequence* const batch[] = {&sequences[2], &sequences[3]};
      const Batch next = NextStep(batch);
      const auto logits = model.Run(next);
      ASSERT_TRUE(logits.ok()) << logits.status();
      EXPECT_TRUE(*logits == by_launches_.Run(next).value());
    }
    EXPECT_THAT(warnings, testing::ElementsAre(testing::HasSubstr("out of memory")));
    EXPECT_EQ(model.counts().graph_launches, after == 4 ? 1 : 0);
    cuda_shim::Reset();
  }
}

TEST_F(CudaGraphs, FailTheStepWhenTheDeviceIsLost) {
  if (!cuda_shim::IsEmulated()) GTEST_SKIP() << "only the emulated device can be made to fail";
  for (const auto& [call, after] : {std::pair(Call::kGraph, 0), {Call::kGraph, 3}, {Call::kExecution, 30}}) {
    std::vector<TestSequence> sequences = Sequences();
    DeviceModel model({.warn = [](const std::string& warning) { ADD_FAILURE() << warning; }});
    TestSequence* const batch[] = {&sequences[2]};
    ASSERT_TRUE(model.Run(NextStep(batch)).ok());
    cuda_shim::FailNext(call, cudaErrorIllegalAddress, after);
    absl::Status status;
    for (int step = 0; step < 3; ++step) status = model.Run(NextStep(batch)).status();
    EXPECT_TRUE(absl::IsUnavailable(status)) << status;
    cuda_shim::Reset();  // A lost device takes no memory back.
  }
}

// Every call may fail once; the step fails with it, and the next one gives the right answer, by a graph in the end.
TEST_F(CudaGraphs, GoOnAfterAnyCallThatFailedOnce) {
  if (!cuda_shim::IsEmulated()) GTEST_SKIP() << "only the emulated device can be made to fail";
  std::vector<TestSequence> sequences = Sequences();
  TestSequence* const batch[] = {&sequences[2], &sequences[3], &sequences[4]};
  const Batch step = NextStep(batch);
  const Logits expected = by_launches_.Run(step).value();
  for (const Call call : {Call::kMalloc, Call::kMallocHost, Call::kCopy, Call::kLaunch}) {
    for (int after = 0; after < 60; after += 5) {
      SCOPED_TRACE(testing::Message() << "call " << static_cast<int>(call) << " after " << after);
      DeviceModel model({.warn = [](const std::string& warning) { ADD_FAILURE() << warning; }});
      cuda_shim::FailNext(call, call == Call::kLaunch ? cudaErrorInvalidConfiguration : cudaErrorMemoryAllocation,
                          after);
      int num_failed = 0;
      for (int i = 0; i < 4; ++i) {
        const auto logits = model.Run(step);
        num_failed += logits.ok() ? 0 : 1;
        EXPECT_TRUE(!logits.ok() || *logits == expected);
      }
      EXPECT_LE(num_failed, 1);
      EXPECT_GE(model.counts().graph_launches, 1);
      cuda_shim::Reset();
      cuda_shim::SetDeferred(true);
      if (num_failed == 0) break;  // There are no more such calls.
    }
  }
}

}  // namespace
}  // namespace quire
