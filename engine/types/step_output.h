// What one Engine::Step produced, for the thread that turns tokens into text.
#pragma once

#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "block_manager/lease.h"
#include "engine/types/generate_request.h"

namespace quire {

struct TokenLogprob {
  TokenId token = 0;
  float logprob = 0;
  std::vector<std::pair<TokenId, float>> top;  // Most likely first.
};

enum class FinishReason { kNone, kStop, kLength };

struct Usage {
  int prompt_tokens = 0;
  int cached_tokens = 0;
  int cached_tokens_host = 0;  // Of the cached ones, those that were fetched for this request from the host's memory
  int cached_tokens_disk = 0;  // and from a file.
  int completion_tokens = 0;  // Of all samples.
};

struct Timings {
  absl::Duration queue;    // Arrival until first scheduled.
  absl::Duration prefill;  // First scheduled until the first new token.
  absl::Duration decode;   // First new token until the last.
};

// One sample's progress. A request's outputs come in order; its last one has `last` set, and then nothing of it comes again.
struct SequenceOutput {
  RequestId request = 0;
  int index = 0;                           // Which of the n samples.
  std::vector<TokenId> tokens;             // New since the last output; a stop or end-of-sequence token is among them.
  std::vector<TokenLogprob> logprobs;      // As many as tokens, where asked for.
  std::vector<TokenLogprob> prompt_logprobs;  // On the request's first output, where asked for: prompt tokens 1, 2, ...
  // Of a request that is to be embedded, with `last`: the hidden state of the prompt's last token after the final norm.
  std::vector<float> embedding;
  // Of a request that asks for a lease, with the end of its first sample: the lease, or why there is none.
  std::optional<absl::StatusOr<Lease>> lease = {};
  FinishReason finish_reason = FinishReason::kNone;
  bool last = false;                       // The whole request is over.
  absl::Status status;                     // With `last`: not OK when it failed (CANCELLED, DEADLINE_EXCEEDED, INTERNAL).
  Usage usage;                             // So far.
  Timings timings;                         // With `last`.
};

// Where the time of an Engine::Step went; all zero when nothing could run.
struct StepTimings {
  absl::Duration schedule;  // Planning steps and building their batches.
  absl::Duration model;     // Handing these to the model, and waiting for the tokens of the oldest step under way.
  absl::Duration commit;

  absl::Duration total() const { return schedule + model + commit; }
};

struct StepOutput {
  std::vector<SequenceOutput> outputs;
  int num_scheduled_tokens = 0;  // 0: there was nothing that could run, or the step was given up.
  bool given_up = false;         // For the sake of somebody who came while it computed.
  StepTimings timings;
  absl::Status model_status;     // Of the model's run. UNAVAILABLE: its device is lost, and no later step can succeed.
};

}  // namespace quire
