#include "tests/golden/real_model.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "engine/runner/local_model_runner.h"

namespace quire {
namespace {

template <typename T>
T OrDie(absl::StatusOr<T> value) {
  if (value.ok()) return *std::move(value);
  std::fprintf(stderr, "%s\n", value.status().ToString().c_str());
  std::abort();
}

KvLayout LayoutFor(const ModelConfig& config, const EngineSetup& setup) {
  return {.num_layers = config.num_layers,
          .num_kv_heads = config.num_kv_heads,
          .head_dim = config.head_dim,
          .page_size = setup.block_size,
          .num_pages = setup.num_blocks,
          .key_dtype = setup.kv.key,
          .value_dtype = setup.kv.value};
}

EngineOptions OptionsFor(const ModelConfig& config, const EngineSetup& setup) {
  EngineOptions options;
  options.max_model_len = config.context_length;
  options.max_num_seqs = std::min(64, setup.max_num_batched_tokens - setup.kv_window.sink_tokens);
  options.max_num_batched_tokens = setup.max_num_batched_tokens;
  options.vocab_size = config.vocab_size;
  options.blocks.num_blocks = setup.num_blocks;
  options.blocks.block_size = setup.block_size;
  options.kv_window = setup.kv_window;
  return options;
}

}  // namespace

RealModel::RealModel(const std::string& instruction_set, int num_threads)
    : RealModel(OrDie(MakeCpuOps({.num_threads = num_threads, .instruction_set = instruction_set}))) {}

RealModel::RealModel(std::unique_ptr<Ops> ops, WeightPrecision precision)
    : ops_(std::move(ops)), model_(OrDie(LoadModel(QUIRE_TEST_MODEL, *ops_, nullptr, precision))) {}

RealEngine::RealEngine(const RealModel& model, const EngineSetup& setup)
    : kv_cache_(OrDie(model.ops().AllocateKvCache(LayoutFor(model.model().config, setup)))),
      runner_(OrDie(LocalModelRunner::Make(model.model(), model.ops(), *kv_cache_, setup.max_num_batched_tokens))),
      engine_(std::make_unique<Engine>(OptionsFor(model.model().config, setup), *runner_)) {}

std::vector<Stream> RealEngine::Run(std::vector<GenerateRequest> requests) {
  std::vector<Stream> streams(requests.size());
  for (size_t i = 0; i < requests.size(); ++i) {
    requests[i].id = i;
    const absl::Status status = engine_->Submit(std::move(requests[i]), absl::UnixEpoch());
    EXPECT_TRUE(status.ok()) << status;
  }
  while (engine_->HasWork()) {
    for (SequenceOutput& output : engine_->Step(absl::UnixEpoch()).outputs) {
      EXPECT_TRUE(output.status.ok()) << output.status;
      if (output.last) streams[output.request].usage = output.usage;
      if (output.last) streams[output.request].embedding = std::move(output.embedding);
      if (output.index != 0) continue;
      Stream& stream = streams[output.request];
      std::move(output.tokens.begin(), output.tokens.end(), std::back_inserter(stream.tokens));
      std::move(output.logprobs.begin(), output.logprobs.end(), std::back_inserter(stream.logprobs));
      std::move(output.prompt_logprobs.begin(), output.prompt_logprobs.end(),
                std::back_inserter(stream.prompt_logprobs));
      if (output.finish_reason != FinishReason::kNone) stream.finish_reason = output.finish_reason;
    }
  }
  engine_->CheckInvariants();
  return streams;
}

}  // namespace quire
