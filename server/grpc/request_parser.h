// Wire messages to what the pipeline understands. Everything that can be told from the message alone is checked here,
// before the request costs anything.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "quire/v1/inference.pb.h"
#include "server/request_checks.h"
#include "server/serving_pipeline.h"

namespace quire {

// Constant; any thread may call it.
class RequestParser {
 public:
  // `model` outlives the parser.
  explicit RequestParser(const ServedModel& model) : checks_(model) {}

  // INVALID_ARGUMENT names the field at fault (see InvalidField); NOT_FOUND, what is served.
  absl::StatusOr<PipelineRequest> Parse(const v1::GenerateRequest& request) const;
  absl::StatusOr<PipelineRequest> Parse(const v1::ChatRequest& request) const;
  absl::Status Check(const v1::TokenizeRequest& request) const;
  absl::Status Check(const v1::DetokenizeRequest& request) const;
  absl::StatusOr<SamplingParams> ParseSampling(const v1::SamplingParams& proto) const;

  const RequestChecks& checks() const { return checks_; }

 private:
  absl::Status ParseCommon(const v1::SamplingParams& sampling, int priority, PipelineRequest* result) const;

  const RequestChecks checks_;
};

}  // namespace quire
