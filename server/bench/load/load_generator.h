// Sends a workload and takes down what became of every request. One thread, the caller's, for any number of streams.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "server/bench/load/prompt_writer.h"
#include "server/bench/load/transport.h"
#include "server/bench/load/workload.h"

namespace quire {

// Seconds are since the beginning of the run.
struct LoadRecord {
  // When it should have been sent: at its arrival in an open loop, however late the generator or a limit of
  // concurrency made it; when its client became free in a closed one; when the user had thought in a later turn.
  // Latencies count from here, so a server that stalls the generator is charged for it.
  double intended_s = 0;
  double sent_s = 0;
  double lag_s = 0;               // What the generator itself was late by: sent later than it was due and allowed.
  std::vector<double> message_s;  // Of each message that brought tokens.
  double end_s = 0;
  StreamUsage usage;
  int output_tokens = 0;   // As the server says, else as counted.
  std::string error_kind;  // Empty: it was completed.
  std::string error_message;
};

struct LoadRun {
  std::vector<LoadRecord> records;  // In the order in which requests were sent.
  double duration_s = 0;
  int skipped = 0;  // Turns that were not sent because one before them had failed.
};

struct PacingOptions {
  // When each conversation begins, in seconds, ascending; empty: a closed loop, in which each of `max_concurrency`
  // clients begins its next conversation when its last one is over.
  std::vector<double> start_s = {};
  int max_concurrency = 0;  // Conversations in progress at once; 0: any number.
  double think_s = 0;       // From an answer to the next turn.
};

// Returns when every request has ended. A turn's prompt is all that was said before, answers included. `progress` is
// called with 0..1; may be empty.
LoadRun RunLoad(const Workload& workload, const PacingOptions& pacing, const PromptWriter& writer, Transport& transport,
                const std::function<void(float)>& progress);

}  // namespace quire
