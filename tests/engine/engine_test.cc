#include "engine/engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/engine/engine_harness.h"

namespace quire {
namespace {

using ::testing::HasSubstr;

TEST(Engine, GivesARequestTheStreamOfItsModel) {
  EngineHarness harness;
  harness.Submit(Request(1, Prompt(10), 12));
  EXPECT_TRUE(harness.engine.HasWork());
  harness.RunToEnd();
  harness.ExpectStreamsOfLoneRequests();
  Outcome& outcome = harness.outcomes[1];
  EXPECT_EQ(outcome.samples[0].finish_reason, FinishReason::kLength);
  EXPECT_EQ(outcome.usage.prompt_tokens, 10);
  EXPECT_EQ(outcome.usage.cached_tokens, 0);
  EXPECT_EQ(outcome.usage.completion_tokens, 12);
  EXPECT_FALSE(harness.engine.HasWork());
}

TEST(Engine, GivesBatchedRequestsTheStreamsOfLoneOnes) {
  EngineHarness harness;
  for (int i = 0; i < 12; ++i) harness.Submit(Request(i, Prompt(3 + 5 * i, i), 4 + 3 * (i % 4)));
  harness.RunToEnd();
  harness.ExpectStreamsOfLoneRequests();
}

TEST(Engine, DecodesWhileALongPromptIsComputed) {
  EngineHarness harness(OneStepAtATime());
  harness.Submit(Request(1, Prompt(4, 1), 40));
  harness.Step();
  harness.Submit(Request(2, Prompt(120, 2), 1));
  int steps = 0;
  for (; harness.outcomes[2].samples[0].tokens.empty(); ++steps) {
    const size_t before = harness.outcomes[1].samples[0].tokens.size();
    const StepOutput step = harness.Step();
    EXPECT_LE(step.num_scheduled_tokens, 32);
    EXPECT_EQ(harness.outcomes[1].samples[0].tokens.size(), before + 1);
  }
  EXPECT_EQ(steps, 4) << "120 tokens in chunks of at most 31";
  harness.RunToEnd();
  harness.ExpectStreamsOfLoneRequests();
}

TEST(Engine, LetsAShortPromptPassBesideALongOne) {
  EngineHarness harness;
  harness.Submit(Request(1, Prompt(200, 1), 1));
  harness.Submit(Request(2, Prompt(10, 2), 1));
  harness.Step();
  EXPECT_TRUE(harness.outcomes[2].over);
  EXPECT_FALSE(harness.outcomes[1].over);
}

TEST(Engine, PartsTheSamplesOfARequestAtTheirFirstToken) {
  EngineHarness harness;
  GenerateRequest request = Request(1, Prompt(10), 9);
  request.sampling.n = 4;
  request.sampling.ignore_eos = false;
  harness.Submit(request);
  harness.RunToEnd();
  harness.ExpectStreamsOfLoneRequests();
  size_t completion_tokens = 0;
  for (const auto& [index, sample] : harness.outcomes[1].samples) completion_tokens += sample.tokens.size();
  EXPECT_EQ(harness.outcomes[1].samples.size(), 4u);
  EXPECT_NE(harness.outcomes[1].samples[0].tokens, harness.outcomes[1].samples[1].tokens);
  EXPECT_EQ(harness.outcomes[1].usage.completion_tokens, static_cast<int>(completion_tokens));
}

TEST(Engine, ReservesASeatForEverySample) {
  EngineOptions options = SmallEngine();
  options.max_num_seqs = 4;
  EngineHarness harness(options);
  for (int i = 0; i < 3; ++i) {
    GenerateRequest request = Request(i, Prompt(5, i), 10);
    request.sampling.n = 3;
    harness.Submit(request);
  }
  harness.Step();
  EXPECT_EQ(harness.engine.stats().requests_running, 1);
  EXPECT_EQ(harness.engine.stats().requests_waiting, 2);
  harness.RunToEnd();
  harness.ExpectStreamsOfLoneRequests();
}

TEST(Engine, PreemptsTheLatestWhenPagesRunOut) {
  EngineOptions options = SmallEngine();
  options.blocks.num_blocks = 12;
  EngineHarness harness(options);
  for (int i = 0; i < 4; ++i) harness.Submit(Request(i, Prompt(8, i), 24));
  std::vector<RequestId> order;
  while (harness.engine.HasWork()) {
    for (const SequenceOutput& output : harness.Step().outputs) {
      if (output.last) order.push_back(output.request);
    }
  }
  harness.ExpectStreamsOfLoneRequests();
  EXPECT_GT(harness.engine.stats().preemptions_total, 0u);
  EXPECT_EQ(order, (std::vector<RequestId>{0, 1, 2, 3}));
}

TEST(Engine, PreemptsSamplesOneByOne) {
  EngineOptions options = SmallEngine();
  options.blocks.num_blocks = 9;
  EngineHarness harness(options);
  GenerateRequest request = Request(1, Prompt(10), 24);
  request.sampling.n = 3;
  harness.Submit(request);
  harness.RunToEnd();
  harness.ExpectStreamsOfLoneRequests();
  EXPECT_GT(harness.engine.stats().preemptions_total, 0u);
}

TEST(Engine, ServesPrioritiesInOrder) {
  EngineOptions options = SmallEngine();
  options.max_num_seqs = 1;
  EngineHarness harness(options);
  for (int i = 0; i < 3; ++i) {
    GenerateRequest request = Request(i, Prompt(5, i), 3);
    request.priority = 3 - i;
    harness.Submit(request);
  }
  std::vector<RequestId> order;
  while (harness.engine.HasWork()) {
    for (const SequenceOutput& output : harness.Step().outputs) {
      if (output.last) order.push_back(output.request);
    }
  }
  EXPECT_EQ(order, (std::vector<RequestId>{2, 1, 0}));
  EXPECT_EQ(harness.engine.stats().preemptions_total, 0u);
}

TEST(Engine, PreemptsForAHigherPriorityOnly) {
  EngineOptions options = OneStepAtATime();
  options.max_num_seqs = 2;
  EngineHarness harness(options);
  harness.Submit(Request(1, Prompt(5, 1), 20));
  harness.Submit(Request(2, Prompt(5, 2), 20));
  harness.Step();
  harness.Submit(Request(3, Prompt(5, 3), 5));
  harness.Step();
  EXPECT_EQ(harness.engine.stats().preemptions_total, 0u);
  GenerateRequest urgent = Request(4, Prompt(5, 4), 5);
  urgent.priority = -1;
  harness.Submit(urgent);
  harness.Step();
  EXPECT_EQ(harness.engine.stats().preemptions_total, 1u) << "one seat was needed";
  EXPECT_EQ(harness.outcomes[4].samples[0].tokens.size(), 1u);
  EXPECT_EQ(harness.outcomes[1].samples[0].tokens.size(), 3u) << "the earlier one went on";
  EXPECT_EQ(harness.outcomes[2].samples[0].tokens.size(), 2u);
  harness.RunToEnd();
  harness.ExpectStreamsOfLoneRequests();
}

TEST(Engine, CancelsInEveryState) {
  EngineOptions options = SmallEngine();
  options.max_num_seqs = 4;
  EngineHarness harness(options);
  harness.Submit(Request(1, Prompt(10, 1), 20));
  EXPECT_TRUE(harness.engine.Cancel(1)) << "between Submit and the first Step";
  GenerateRequest forked = Request(2, Prompt(10, 2), 20);
  forked.sampling.n = 3;
  harness.Submit(forked);
  harness.Submit(Request(3, Prompt(200, 3), 20));
  harness.Submit(Request(4, Prompt(10, 4), 20));
  harness.Step();
  EXPECT_EQ(harness.outcomes[2].samples.size(), 3u);
  EXPECT_TRUE(harness.engine.Cancel(3)) << "with its prompt half computed";
  EXPECT_TRUE(harness.engine.Cancel(4)) << "while waiting";
  EXPECT_TRUE(harness.engine.Cancel(2)) << "after its samples parted";
  EXPECT_FALSE(harness.engine.Cancel(2));
  EXPECT_FALSE(harness.engine.Cancel(5));
  EXPECT_EQ(harness.engine.stats().blocks.used, 0) << "pages are free at once";
  harness.engine.CheckInvariants();
  harness.RunToEnd();
  for (RequestId id : {1, 2, 3, 4}) {
    EXPECT_TRUE(harness.outcomes[id].over);
    EXPECT_EQ(harness.outcomes[id].status.code(), absl::StatusCode::kCancelled);
  }
  EXPECT_EQ(harness.outcomes[2].usage.completion_tokens, 3);
}

TEST(Engine, EndsRequestsWhoseDeadlinePassed) {
  EngineOptions options = SmallEngine();
  options.max_num_seqs = 1;
  EngineHarness harness(options);
  for (RequestId id : {1, 2, 3}) {
    GenerateRequest request = Request(id, Prompt(10, id), 20);
    if (id < 3) request.deadline = harness.now + absl::Seconds(1);
    harness.Submit(request);
  }
  harness.Step();
  harness.now += absl::Seconds(1);
  harness.Step();
  EXPECT_FALSE(harness.outcomes[1].over) << "at the deadline it still runs";
  harness.now += absl::Nanoseconds(1);
  harness.Step();
  EXPECT_EQ(harness.outcomes[1].status.code(), absl::StatusCode::kDeadlineExceeded) << "running";
  EXPECT_EQ(harness.outcomes[2].status.code(), absl::StatusCode::kDeadlineExceeded) << "waiting";
  harness.RunToEnd();
  EXPECT_EQ(harness.outcomes[3].status, absl::OkStatus());

  GenerateRequest late = Request(4, Prompt(10), 1);
  late.deadline = harness.now - absl::Nanoseconds(1);
  EXPECT_EQ(harness.engine.Submit(late, harness.now).code(), absl::StatusCode::kDeadlineExceeded);
}

TEST(Engine, OutlivesAFailedStep) {
  EngineHarness harness(OneStepAtATime());
  harness.Submit(Request(1, Prompt(10, 1), 20));
  harness.Submit(Request(2, Prompt(10, 2), 20));
  harness.Step();
  harness.runner.FailNextStep(absl::UnavailableError("the device is gone"));
  harness.Submit(Request(3, Prompt(12, 1), 20));
  harness.Step();
  for (RequestId id : {1, 2, 3}) EXPECT_EQ(harness.outcomes[id].status, absl::UnavailableError("the device is gone"));
  EXPECT_EQ(harness.outcomes[1].samples[0].tokens.size(), 1u);
  EXPECT_EQ(harness.engine.stats().blocks.used, 0);
  harness.requests.clear();
  harness.Submit(Request(4, Prompt(12, 1), 20));
  harness.RunToEnd();
  harness.ExpectStreamsOfLoneRequests();
}

TEST(Engine, EndsOnlyTheRequestWhoseLogitsAreNotFinite) {
  EngineHarness harness;
  harness.runner.PoisonRows([](const LogitRow& row) { return row.seed == 1001 && row.position == 13; });
  GenerateRequest poisoned = Request(1, Prompt(10, 1), 20);
  poisoned.sampling.n = 2;
  harness.Submit(poisoned);
  harness.Submit(Request(2, Prompt(10, 2), 20));
  harness.RunToEnd();
  EXPECT_EQ(harness.outcomes[1].status.code(), absl::StatusCode::kInternal);
  EXPECT_EQ(harness.outcomes[1].samples[0].tokens.size(), 3u);
  EXPECT_EQ(harness.outcomes[1].samples[1].tokens.size(), 3u) << "its other sample ends with it";
  harness.requests.erase(1);
  harness.ExpectStreamsOfLoneRequests();
}

TEST(Engine, EndsAtEndOfSequenceAndStopTokens) {
  EngineOptions options = SmallEngine();
  options.vocab_size = 8;
  EngineHarness harness(options);
  for (int i = 0; i < 16; ++i) {
    GenerateRequest request = Request(i, {1, 2, 1 + i % 7}, 60);
    request.sampling.ignore_eos = i % 2 == 1;
    request.sampling.min_tokens = i % 4 >= 2 ? 20 : 0;
    if (i % 3 == 0) request.sampling.stop_token_ids = {5};
    harness.Submit(request);
  }
  harness.RunToEnd();
  harness.ExpectStreamsOfLoneRequests();
  for (const auto& [id, request] : harness.requests) {
    SCOPED_TRACE(id);
    const Stream& sample = harness.outcomes[id].samples[0];
    const bool stopped = sample.finish_reason == FinishReason::kStop;
    EXPECT_EQ(stopped, sample.tokens.size() < 60u);
    const bool may_stop = !request.sampling.ignore_eos || !request.sampling.stop_token_ids.empty();
    EXPECT_EQ(stopped, may_stop) << "60 draws of 8 tokens hold each of them";
    if (stopped) {
      EXPECT_THAT(sample.tokens.back(), ::testing::AnyOf(kEos, 5));
    }
    EXPECT_GE(static_cast<int>(sample.tokens.size()), request.sampling.min_tokens);
  }
}

TEST(Engine, FillsTheModelsLengthWhenMaxTokensIsUnset) {
  EngineOptions options = SmallEngine();
  options.max_model_len = 50;
  EngineHarness harness(options);
  harness.Submit(Request(1, Prompt(10), 0));
  harness.RunToEnd();
  EXPECT_EQ(harness.outcomes[1].usage.completion_tokens, 40);
  EXPECT_EQ(harness.outcomes[1].samples[0].finish_reason, FinishReason::kLength);
}

TEST(Engine, EndsASampleWhenItsTextMetAStopString) {
  EngineHarness harness;
  GenerateRequest request = Request(1, Prompt(10), 20);
  request.sampling.n = 2;
  harness.Submit(request);
  EXPECT_FALSE(harness.engine.FinishSample(1, 0)) << "before its first token";
  harness.Step();
  EXPECT_TRUE(harness.engine.FinishSample(1, 1));
  EXPECT_FALSE(harness.engine.FinishSample(1, 1));
  EXPECT_FALSE(harness.engine.FinishSample(1, 2));
  EXPECT_FALSE(harness.engine.FinishSample(2, 0));
  harness.engine.CheckInvariants();
  harness.Step();
  EXPECT_EQ(harness.outcomes[1].samples[1].finish_reason, FinishReason::kStop);
  EXPECT_EQ(harness.outcomes[1].samples[1].tokens.size(), 1u);
  EXPECT_FALSE(harness.outcomes[1].over);
  EXPECT_TRUE(harness.engine.FinishSample(1, 0));
  EXPECT_TRUE(harness.engine.HasWork());
  harness.RunToEnd();
  EXPECT_TRUE(harness.outcomes[1].over);
  EXPECT_EQ(harness.outcomes[1].usage.completion_tokens, 3);
}

TEST(Engine, ScoresThePromptOnceAcrossChunksAndPreemption) {
  EngineOptions options = SmallEngine();
  options.blocks.num_blocks = 24;
  EngineHarness harness(options);
  harness.Submit(Request(1, Prompt(20, 1), 60));
  GenerateRequest request = Request(2, Prompt(40, 2), 30);
  request.sampling.prompt_logprobs = 1;
  request.sampling.logprobs = 2;
  harness.Submit(request);
  harness.RunToEnd();
  harness.ExpectStreamsOfLoneRequests();
  EXPECT_GT(harness.engine.stats().preemptions_total, 0u);
  const Outcome& outcome = harness.outcomes[2];
  const std::vector<float> expected = harness.model.ScorePrompt(request.prompt);
  ASSERT_EQ(outcome.prompt_logprobs.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(outcome.prompt_logprobs[i].token, request.prompt[i + 1]);
    EXPECT_EQ(outcome.prompt_logprobs[i].logprob, expected[i]);
    EXPECT_EQ(outcome.prompt_logprobs[i].top.size(), 1u);
  }
  EXPECT_EQ(outcome.samples.at(0).logprobs.size(), 30u);
  EXPECT_TRUE(harness.outcomes[1].prompt_logprobs.empty());
  EXPECT_TRUE(harness.outcomes[1].samples[0].logprobs.empty());
}

TEST(Engine, RecomputesEverythingWhenToldTo) {
  EngineOptions options = SmallEngine();
  options.recompute_always = true;
  EngineHarness harness(options);
  GenerateRequest request = Request(1, Prompt(10, 1), 10);
  request.sampling.n = 2;
  harness.Submit(request);
  harness.Submit(Request(2, Prompt(60, 2), 10));
  int64_t scheduled = 0;
  while (harness.engine.HasWork()) scheduled += harness.Step().num_scheduled_tokens;
  harness.ExpectStreamsOfLoneRequests();
  EXPECT_GE(scheduled, 10 * 60 + 10 * 10 + 9 * 10);
}

TEST(Engine, ReportsTimings) {
  EngineHarness harness;
  GenerateRequest request = Request(1, Prompt(40), 3);
  request.arrival = harness.now - absl::Seconds(2);
  harness.Submit(request);
  for (; harness.engine.HasWork(); harness.now += absl::Seconds(1)) harness.Step();
  const Timings& timings = harness.outcomes[1].timings;
  EXPECT_EQ(timings.queue, absl::Seconds(2));
  EXPECT_EQ(timings.prefill, absl::Milliseconds(1005)) << "two steps";
  EXPECT_EQ(timings.decode, absl::Seconds(2));
}

TEST(Engine, TellsWhereAStepsTimeWent) {
  EngineOptions options = SmallEngine();
  options.clock = [now = absl::UnixEpoch(), tick = absl::Milliseconds(1)]() mutable {
    tick *= 2;
    return now += tick;
  };
  FakeModel model(kVocab, {kEos});
  FakeModelRunner runner(model, options.blocks.num_blocks, options.blocks.block_size);
  Engine engine(options, runner);
  ASSERT_TRUE(engine.Submit(Request(1, Prompt(3), 1), absl::UnixEpoch()).ok());
  const StepTimings timings = engine.Step(absl::UnixEpoch()).timings;
  EXPECT_EQ(timings.schedule, absl::Milliseconds(4));
  EXPECT_EQ(timings.model, absl::Milliseconds(8));
  EXPECT_EQ(timings.commit, absl::Milliseconds(16));
  EXPECT_EQ(engine.Step(absl::UnixEpoch()).timings.total(), absl::ZeroDuration()) << "nothing to do";
}

TEST(Engine, CountsWhatItDid) {
  EngineHarness harness;
  harness.Submit(Request(1, Prompt(10, 1), 3));
  harness.Submit(Request(2, Prompt(20, 2), 5));
  harness.RunToEnd();
  const EngineStats stats = harness.engine.stats();
  EXPECT_EQ(stats.requests_running, 0);
  EXPECT_EQ(stats.requests_waiting, 0);
  EXPECT_EQ(stats.prompt_tokens_total, 30u);
  EXPECT_EQ(stats.completion_tokens_total, 8u);
  EXPECT_EQ(stats.blocks.total, 64);
}

TEST(Engine, RefusesWhatItCanNeverServe) {
  EngineOptions options = SmallEngine();
  options.blocks.num_blocks = 8;  // 32 tokens.
  EngineHarness harness(options);
  const auto refusal = [&](const GenerateRequest& request) {
    const absl::Status status = harness.engine.Submit(request, harness.now);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    return std::string(status.message());
  };
  EXPECT_THAT(refusal(Request(1, {}, 1)), HasSubstr("prompt must have at least one token"));
  EXPECT_THAT(refusal(Request(1, {1, kVocab}, 1)), HasSubstr("token ids must be in [0, 64), got 64"));
  EXPECT_THAT(refusal(Request(1, {1, -1}, 1)), HasSubstr("got -1"));
  EXPECT_THAT(refusal(Request(1, Prompt(32), 0)), HasSubstr("at most 31 tokens"));
  EXPECT_THAT(refusal(Request(1, Prompt(30), 3)), HasSubstr("max_tokens must be at most 2"));
  GenerateRequest many = Request(1, Prompt(3), 1);
  many.sampling.n = 9;
  EXPECT_THAT(refusal(many), HasSubstr("sampling_params.n must be at most 8 here, got 9"));
  GenerateRequest hot = Request(1, Prompt(3), 1);
  hot.sampling.temperature = -1;
  EXPECT_THAT(refusal(hot), HasSubstr("sampling_params.temperature"));
  EXPECT_FALSE(harness.engine.HasWork());
  harness.Submit(Request(1, Prompt(30), 2));
  EXPECT_EQ(harness.engine.Submit(Request(1, Prompt(3), 1), harness.now).code(), absl::StatusCode::kAlreadyExists);
  harness.RunToEnd();
  harness.ExpectStreamsOfLoneRequests();
}

TEST(Engine, RefusesWhatItsQueueCannotHold) {
  EngineOptions options = SmallEngine();
  options.max_waiting_requests = 3;
  EngineHarness harness(options);
  for (RequestId id : {1, 2, 3}) harness.Submit(Request(id, Prompt(3, id), 2));
  const absl::Status full = harness.engine.Submit(Request(4, Prompt(3), 2), harness.now);
  EXPECT_EQ(full.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(full.message()), HasSubstr("3 sequences are waiting"));
  harness.Step();
  harness.Submit(Request(4, Prompt(3), 2));
  harness.RunToEnd();
  harness.ExpectStreamsOfLoneRequests();

  options = SmallEngine();
  options.max_waiting_tokens = options.max_model_len;
  EngineHarness narrow(options);
  narrow.Submit(Request(1, Prompt(200), 2));
  EXPECT_EQ(narrow.engine.Submit(Request(2, Prompt(57), 2), narrow.now).code(), absl::StatusCode::kResourceExhausted);
  narrow.Submit(Request(2, Prompt(56), 2));
}

TEST(Engine, NamesTheOptionThatIsWrong) {
  EngineOptions options = SmallEngine();
  EXPECT_EQ(Engine::ValidateOptions(options), absl::OkStatus());
  options.max_num_batched_tokens = 7;
  EXPECT_EQ(Engine::ValidateOptions(options).message(), "max_num_batched_tokens must be at least 8, got 7");
  options = SmallEngine();
  options.blocks.num_blocks = 1 << 30;
  EXPECT_THAT(std::string(Engine::ValidateOptions(options).message()), HasSubstr("num_blocks x block_size"));
  options = SmallEngine();
  options.eos_token_ids = {kVocab};
  EXPECT_THAT(std::string(Engine::ValidateOptions(options).message()), HasSubstr("eos_token_ids"));
}

}  // namespace
}  // namespace quire
