// An engine over the fake model, and what its requests got so far.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <vector>

#include "absl/functional/function_ref.h"
#include "engine/engine.h"
#include "tests/fakes/fake_model_runner.h"

namespace quire {

inline constexpr TokenId kEos = 0;
inline constexpr int kVocab = 64;

inline EngineOptions SmallEngine() {
  EngineOptions options;
  options.max_model_len = 256;
  options.max_num_seqs = 8;
  options.max_num_batched_tokens = 32;
  options.vocab_size = kVocab;
  options.eos_token_ids = {kEos};
  options.blocks = {.num_blocks = 64, .block_size = 4};
  return options;
}

// For tests that count steps: whoever comes is in the next.
inline EngineOptions OneStepAtATime() {
  EngineOptions options = SmallEngine();
  options.pipeline_depth = 1;
  return options;
}

// A prompt of `length` tokens that begins differently for each `seed`.
inline std::vector<TokenId> Prompt(int length, int seed = 0) {
  std::vector<TokenId> prompt;
  for (int i = 0; i < length; ++i) prompt.push_back(1 + (seed * 7 + i * (seed + 3)) % (kVocab - 1));
  return prompt;
}

// A request for exactly `max_tokens` new tokens.
inline GenerateRequest Request(RequestId id, std::vector<TokenId> prompt, int max_tokens) {
  GenerateRequest request;
  request.id = id;
  request.prompt = std::move(prompt);
  request.sampling.max_tokens = max_tokens;
  request.sampling.ignore_eos = true;
  request.sampling.seed = 1000 + id;
  return request;
}

struct Stream {
  std::vector<TokenId> tokens;
  std::vector<TokenLogprob> logprobs;
  FinishReason finish_reason = FinishReason::kNone;
};

struct Outcome {
  std::map<int, Stream> samples;
  std::vector<TokenLogprob> prompt_logprobs;
  std::vector<float> embedding;
  bool over = false;
  absl::Status status;
  Usage usage;
  Timings timings;
};

class EngineHarness {
 public:
  explicit EngineHarness(EngineOptions options = SmallEngine())
      : EngineHarness(std::move(options), [](FakeModelRunner&) { return TierOptions(); }) {}
  // `make_tiers` is given the runner.
  EngineHarness(EngineOptions options, absl::FunctionRef<TierOptions(FakeModelRunner&)> make_tiers)
      : model(options.vocab_size, options.eos_token_ids, options.kv_window),
        runner(model, options.blocks.num_blocks, options.blocks.block_size),
        engine(WithClock(std::move(options)), runner, make_tiers(runner)) {}

  void Submit(const GenerateRequest& request) {
    ASSERT_EQ(engine.Submit(request, now), absl::OkStatus());
    requests[request.id] = request;
  }

  // One step, whose outputs are added to `outcomes`, and then every invariant.
  StepOutput Step(const GivesWay& gives_way = nullptr) {
    StepOutput step = engine.Step(now, gives_way);
    for (const SequenceOutput& output : step.outputs) Add(output);
    engine.CheckInvariants();
    EXPECT_EQ(runner.violation(), "");
    return step;
  }

  void RunToEnd() {
    for (int step = 0; engine.HasWork(); ++step) {
      ASSERT_LT(step, 10000) << "the engine makes no progress";
      Step();
    }
    EXPECT_EQ(engine.stats().blocks.used, 0);
  }

  // What each of these requests got is what it would have got alone.
  void ExpectStreamsOfLoneRequests() {
    for (const auto& [id, request] : requests) {
      SCOPED_TRACE(id);
      const Outcome& outcome = outcomes[id];
      EXPECT_TRUE(outcome.over);
      EXPECT_EQ(outcome.status, absl::OkStatus());
      for (int index = 0; index < request.sampling.n; ++index) {
        EXPECT_EQ(outcome.samples.at(index).tokens,
                  model.Generate(request.prompt, request.sampling, index, request.constraint.get()));
      }
    }
  }

  absl::Time now = absl::FromUnixSeconds(1'000'000);
  FakeModel model;
  FakeModelRunner runner;
  Engine engine;
  std::map<RequestId, GenerateRequest> requests;
  std::map<RequestId, Outcome> outcomes;

 private:
  EngineOptions WithClock(EngineOptions options) {
    options.clock = [this] { return now + absl::Milliseconds(5); };
    return options;
  }

  void Add(const SequenceOutput& output) {
    Outcome& outcome = outcomes[output.request];
    EXPECT_FALSE(outcome.over) << "request " << output.request << " had its last output already";
    Stream& sample = outcome.samples[output.index];
    sample.tokens.insert(sample.tokens.end(), output.tokens.begin(), output.tokens.end());
    sample.logprobs.insert(sample.logprobs.end(), output.logprobs.begin(), output.logprobs.end());
    if (!output.prompt_logprobs.empty()) {
      EXPECT_TRUE(outcome.prompt_logprobs.empty());
      outcome.prompt_logprobs = output.prompt_logprobs;
    }
    if (output.finish_reason != FinishReason::kNone) sample.finish_reason = output.finish_reason;
    if (!output.last) return;
    outcome.over = true;
    outcome.status = output.status;
    outcome.embedding = output.embedding;
    outcome.usage = output.usage;
    outcome.timings = output.timings;
  }
};

}  // namespace quire
