// A backend of the tiny model, for tests of the offline benchmarks.
#pragma once

#include <memory>

#include "server/backend.h"
#include "tests/fakes/tiny_model.h"

namespace quire {

// Takes so few tokens a step that prompts are read over several of them.
inline std::unique_ptr<Backend> MakeTinyBackend() {
  BackendOptions options;
  options.model_path = WriteTinyModel();
  options.threads = 1;
  options.max_num_seqs = 8;
  options.max_num_batched_tokens = 16;
  return MakeBackend(options, {}).value();
}

}  // namespace quire
