// What all endpoints work with.
#pragma once

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "server/request_checks.h"
#include "server/serving_pipeline.h"

namespace quire {

// Constant; outlives the server.
struct HttpApi {
  explicit HttpApi(ServingPipeline& serving_pipeline)
      : pipeline(serving_pipeline), checks(serving_pipeline.model()), started(absl::Now()) {}

  const ServedModel& model() const { return pipeline.model(); }

  ServingPipeline& pipeline;
  const RequestChecks checks;
  const absl::Time started;
};

}  // namespace quire
