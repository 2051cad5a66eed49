// What is told of a request once it is over, to metrics and logs: ids, counts and times, and never a word of a prompt
// or an answer.
#pragma once

#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "engine/types/step_output.h"
#include "server/request_origin.h"

namespace quire {

struct RequestRecord {
  RequestOrigin origin;
  absl::StatusCode status = absl::StatusCode::kOk;
  int num_samples = 1;
  int max_tokens = 0;                        // 0: the client did not say.
  std::vector<FinishReason> finish_reasons;  // By sample; kNone where it did not finish.
  int longest_sample = 0;                    // Tokens of the sample that has the most.
  Usage usage;
  Timings timings;
  std::optional<absl::Duration> first_token;  // Arrival until the first token was delivered.
  absl::Duration latency;                     // Arrival until the end.
};

}  // namespace quire
