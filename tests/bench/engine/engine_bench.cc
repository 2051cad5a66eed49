// What the engine costs beside the model: steps over a runner that answers at once.
#include <benchmark/benchmark.h>

#include <vector>

#include "engine/engine.h"
#include "kernels/check.h"

namespace quire {
namespace {

class InstantRunner : public ModelRunner {
 public:
  void Launch(const Batch& batch, const GivesWay& /*gives_way*/) override { results_.resize(batch.logit_rows.size()); }
  absl::StatusOr<std::span<const SampledToken>> Await() override { return std::span<const SampledToken>(results_); }

 private:
  std::vector<SampledToken> results_;
};

constexpr int kPromptTokens = 128;

EngineOptions OptionsFor(int num_sequences) {
  EngineOptions options;
  options.vocab_size = 50'000;
  options.max_model_len = 1 << 20;
  options.max_waiting_tokens = 1 << 20;
  options.max_num_seqs = num_sequences;
  options.max_num_batched_tokens = 8192;
  options.blocks = {.num_blocks = 1 << 15, .block_size = 32};
  return options;
}

GenerateRequest RequestFor(RequestId id) {
  GenerateRequest request;
  request.id = id;
  for (int i = 0; i < kPromptTokens; ++i) request.prompt.push_back(static_cast<TokenId>((id * 131 + i * 17) % 50'000));
  request.sampling.ignore_eos = true;
  return request;
}

// A step in which every one of N sequences gets its next token; their contexts grow from 128 to 2,000 tokens.
void BM_DecodeStep(benchmark::State& state) {
  const int num_sequences = static_cast<int>(state.range(0));
  InstantRunner runner;
  Engine engine(OptionsFor(num_sequences), runner);
  const absl::Time now = absl::FromUnixSeconds(0);
  for (int i = 0; i < num_sequences; ++i) QUIRE_CHECK(engine.Submit(RequestFor(i), now).ok());
  while (engine.stats().completion_tokens_total < static_cast<uint64_t>(4 * num_sequences)) engine.Step(now);
  for (auto _ : state) benchmark::DoNotOptimize(engine.Step(now));
}
BENCHMARK(BM_DecodeStep)->Arg(1)->Arg(16)->Arg(64)->Arg(256)->Iterations(1900);

// The same while one request in ten steps comes and one goes: look-up, admission and release are in it.
void BM_Turnover(benchmark::State& state) {
  const int num_sequences = static_cast<int>(state.range(0));
  InstantRunner runner;
  Engine engine(OptionsFor(num_sequences), runner);
  const absl::Time now = absl::FromUnixSeconds(0);
  RequestId next = 0;
  const auto submit = [&] {
    GenerateRequest request = RequestFor(next++);
    request.sampling.max_tokens = 10 * num_sequences;
    QUIRE_CHECK(engine.Submit(std::move(request), now).ok());
  };
  int step = 0;
  for (auto _ : state) {
    if (step++ % 10 == 0) submit();
    benchmark::DoNotOptimize(engine.Step(now));
  }
  state.counters["running"] = static_cast<double>(engine.stats().requests_running);
}
BENCHMARK(BM_Turnover)->Arg(16)->Arg(256)->MinTime(1);

}  // namespace
}  // namespace quire
