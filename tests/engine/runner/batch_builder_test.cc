#include "engine/runner/batch_builder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/engine/scheduler/test_requests.h"

namespace quire {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class BatchBuilderTest : public ::testing::Test {
 protected:
  Sequence& Admit(uint64_t ordinal, int num_tokens) {
    requests_.push_back(MakeState(ordinal, num_tokens));
    Sequence& sequence = *requests_.back()->sequences[0];
    EXPECT_EQ(blocks_.Admit(sequence.table, sequence.tokens, {}).outcome, AdmitOutcome::kAdmitted);
    return sequence;
  }
  void TearDown() override {
    for (const auto& request : requests_)
      blocks_.Release(request->sequences[0]->table, request->sequences[0]->tokens, 0);
  }

  BlockManager blocks_{{.num_blocks = 16, .block_size = 4, .enable_prefix_caching = false}};
  std::vector<std::unique_ptr<RequestState>> requests_;
  Batch batch_;
};

TEST_F(BatchBuilderTest, NamesTheRowWhoseTokenIsNotKnownYet) {
  Sequence& a = Admit(1, 7);
  a.num_computed = 6;
  a.request->sampling.min_tokens = 2;
  Schedule schedule;
  schedule.sequences = {{.sequence = &a, .num_tokens = 1, .num_sampled = 1, .follows_row = 5}};
  BuildBatch(schedule, blocks_, batch_);
  EXPECT_THAT(batch_.token_ids, ElementsAre(ChosenForRow(5)));
  EXPECT_THAT(batch_.positions, ElementsAre(7));
  EXPECT_THAT(batch_.slot_mapping, ElementsAre(a.table.blocks[1] * 4 + 3));
  EXPECT_THAT(batch_.context_lens, ElementsAre(8));
  ASSERT_EQ(batch_.logit_rows.size(), 1u);
  EXPECT_EQ(batch_.logit_rows[0].position, 8);
  EXPECT_THAT(batch_.logit_rows[0].tokens, IsEmpty());
  EXPECT_TRUE(batch_.logit_rows[0].forbid_stop) << "one token is on its way, and two are wanted";
}

TEST_F(BatchBuilderTest, LaysTokensOutSequenceBySequence) {
  Sequence& a = Admit(1, 10);
  Sequence& b = Admit(2, 3);
  a.num_computed = 3;
  Schedule schedule;
  schedule.sequences = {{.sequence = &a, .num_tokens = 2}, {.sequence = &b, .num_tokens = 3, .num_sampled = 1}};
  BuildBatch(schedule, blocks_, batch_);
  const auto &pa = a.table.blocks, &pb = b.table.blocks;
  EXPECT_THAT(batch_.token_ids, ElementsAre(1003, 1004, 2000, 2001, 2002));
  EXPECT_THAT(batch_.positions, ElementsAre(3, 4, 0, 1, 2));
  EXPECT_THAT(batch_.slot_mapping, ElementsAre(pa[0] * 4 + 3, pa[1] * 4, pb[0] * 4, pb[0] * 4 + 1, pb[0] * 4 + 2));
  EXPECT_THAT(batch_.query_start, ElementsAre(0, 2, 5));
  EXPECT_THAT(batch_.context_lens, ElementsAre(5, 3));
  EXPECT_THAT(batch_.block_indptr, ElementsAre(0, 2, 3)) << "pages beyond the context are left out";
  EXPECT_THAT(batch_.block_indices, ElementsAre(pa[0], pa[1], pb[0]));
  EXPECT_THAT(batch_.page_copies, IsEmpty());
  ASSERT_EQ(batch_.logit_rows.size(), 1u);
  EXPECT_EQ(batch_.logit_rows[0].row, 4);
  EXPECT_EQ(batch_.logit_rows[0].position, 3);
  EXPECT_EQ(batch_.logit_rows[0].tokens.size(), 3u);
}

TEST_F(BatchBuilderTest, AsksOneRowForEverySampleWithASeedOfItsOwn) {
  Sequence& sequence = Admit(1, 5);
  SamplingParams& sampling = sequence.request->sampling;
  sampling.n = 3;
  sampling.seed = 42;
  sampling.min_tokens = 1;
  sequence.seed = 42;
  Schedule schedule;
  schedule.sequences = {{.sequence = &sequence, .num_tokens = 5, .num_sampled = 3}};
  BuildBatch(schedule, blocks_, batch_);
  ASSERT_EQ(batch_.logit_rows.size(), 3u);
  for (int i = 0; i < 3; ++i) {
    const LogitRow& row = batch_.logit_rows[i];
    EXPECT_EQ(row.row, 4);
    EXPECT_EQ(row.seed, SampleSeed(42, i));
    EXPECT_EQ(row.params, &sampling);
    EXPECT_EQ(row.num_prompt_tokens, 5);
    EXPECT_EQ(row.score, -1);
    EXPECT_TRUE(row.forbid_stop);
  }
  EXPECT_EQ(batch_.logit_rows[0].seed, 42u);
  EXPECT_NE(batch_.logit_rows[1].seed, batch_.logit_rows[2].seed);
}

TEST_F(BatchBuilderTest, ScoresPromptTokensAgainstTheRowBefore) {
  Sequence& sequence = Admit(1, 6);
  sequence.request->sampling.prompt_logprobs = 0;
  sequence.num_computed = 2;
  Schedule schedule;
  schedule.sequences = {{.sequence = &sequence, .num_tokens = 4, .first_scored = 3, .num_scored = 2, .num_sampled = 1}};
  BuildBatch(schedule, blocks_, batch_);
  ASSERT_EQ(batch_.logit_rows.size(), 3u);
  EXPECT_EQ(batch_.logit_rows[0].row, 1);
  EXPECT_EQ(batch_.logit_rows[0].position, 4);
  EXPECT_EQ(batch_.logit_rows[0].score, 1004);
  EXPECT_EQ(batch_.logit_rows[1].score, 1005);
  EXPECT_EQ(batch_.logit_rows[2].row, 3);
  EXPECT_EQ(batch_.logit_rows[2].score, -1);
}

TEST_F(BatchBuilderTest, CarriesTheCopiesThatMustComeFirst) {
  Sequence& sequence = Admit(1, 6);
  sequence.num_computed = 6;
  BlockTable sibling = blocks_.Fork(sequence.table);
  const BlockId shared = sequence.table.blocks[1];
  ASSERT_TRUE(blocks_.Grow(sequence.table, 6, 7));
  sequence.tokens.push_back(9);
  Schedule schedule;
  schedule.sequences = {{.sequence = &sequence, .num_tokens = 1, .num_sampled = 1}};
  BuildBatch(schedule, blocks_, batch_);
  ASSERT_EQ(batch_.page_copies.size(), 1u);
  EXPECT_EQ(batch_.page_copies[0].source, shared);
  EXPECT_EQ(batch_.page_copies[0].destination, sequence.table.blocks[1]);
  EXPECT_EQ(batch_.page_copies[0].num_tokens, 2);
  blocks_.Release(sibling, sequence.tokens, 6);

  blocks_.FinishCopies();
  BuildBatch({}, blocks_, batch_);
  EXPECT_THAT(batch_.page_copies, IsEmpty()) << "a batch holds nothing of the one before";
  EXPECT_THAT(batch_.logit_rows, IsEmpty());
  EXPECT_EQ(batch_.num_tokens(), 0);
}

}  // namespace
}  // namespace quire
