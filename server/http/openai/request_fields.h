// The fields that OpenAI's requests have in common, with those that vLLM adds to them.
#pragma once

#include "absl/status/status.h"
#include "server/http/json_fields.h"
#include "server/request_checks.h"
#include "server/serving_pipeline.h"

namespace quire {

// How the answer is to be put.
struct AnswerOptions {
  bool stream = false;
  bool include_usage = false;  // A stream's last event tells of tokens.
};

// `model`: NOT_FOUND where it is another one than is served.
absl::Status ReadModel(const JsonFields& fields, const RequestChecks& checks);

absl::Status ReadAnswerOptions(const JsonFields& fields, AnswerOptions& options);

// All of `params` but max_tokens and the log-probabilities, which endpoints name differently; unset fields keep their
// defaults, the seed is drawn. Does not check ranges. Refuses what vLLM and OpenAI know and it would be misleading to
// ignore.
absl::Status ReadSampling(const JsonFields& fields, SamplingParams& params);
// The same where an answer can only tell of one sample.
absl::Status ReadSamplingOfOne(const JsonFields& fields, SamplingParams& params);

}  // namespace quire
