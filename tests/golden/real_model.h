// The real model behind the real engine, as a test asks for it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "engine/model/loaded_model.h"
#include "kernels/ops.h"
#include "tests/kernels/kv_types.h"

namespace quire {

// The test model, its weights packed for one instruction set or backend. Loading failures end the process: no test can
// go on.
class RealModel {
 public:
  RealModel(const std::string& instruction_set, int num_threads);
  explicit RealModel(std::unique_ptr<Ops> ops, WeightPrecision precision = WeightPrecision::kAsStored);

  const LoadedModel& model() const { return model_; }
  Ops& ops() const { return *ops_; }

 private:
  std::unique_ptr<Ops> ops_;
  LoadedModel model_;
};

// One sample's stream from beginning to end.
struct Stream {
  std::vector<TokenId> tokens;
  std::vector<TokenLogprob> logprobs;
  std::vector<TokenLogprob> prompt_logprobs;
  std::vector<float> embedding;
  FinishReason finish_reason = FinishReason::kNone;
  Usage usage;
};

struct EngineSetup {
  int block_size = 32;
  int num_blocks = 512;
  int max_num_batched_tokens = 256;
  KvTypes kv = {};
  KvWindow kv_window = {};
};

// An engine of its own over the model: pages, prefix cache and all.
class RealEngine {
 public:
  RealEngine(const RealModel& model, const EngineSetup& setup);

  // Runs the requests together until the last is done; result [i] is request i's first sample. Expects every one to
  // succeed.
  std::vector<Stream> Run(std::vector<GenerateRequest> requests);
  Stream RunOne(const GenerateRequest& request) { return Run({request})[0]; }

  EngineStats stats() const { return engine_->stats(); }

 private:
  std::unique_ptr<KvCache> kv_cache_;
  std::unique_ptr<ModelRunner> runner_;
  std::unique_ptr<Engine> engine_;
};

}  // namespace quire
