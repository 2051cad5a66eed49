// What all endpoints work with.
#pragma once

#include <memory>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "server/http/openai/response_store.h"
#include "server/request_checks.h"
#include "server/serving_pipeline.h"

namespace quire {

inline constexpr size_t kMaxStoredResponseBytes = 64 << 20;

// Constant, but for what has locks of its own; outlives the server.
struct HttpApi {
  explicit HttpApi(ServingPipeline& serving_pipeline)
      : pipeline(serving_pipeline), checks(serving_pipeline.model()), started(absl::Now()) {}

  const ServedModel& model() const { return pipeline.model(); }

  ServingPipeline& pipeline;
  const RequestChecks checks;
  const absl::Time started;
  const std::unique_ptr<ResponseStore> responses = std::make_unique<ResponseStore>(kMaxStoredResponseBytes);
};

}  // namespace quire
