// What the server's threads share about one request, and where its answer goes.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/types/generate_request.h"
#include "engine/types/step_output.h"
#include "server/request_origin.h"
#include "server/tools/tool_call_parser.h"

namespace quire {

class SessionRequest;

// What a session has after a request.
struct SessionState {
  std::string id;
  int num_tokens = 0;          // Of its history.
  std::optional<Lease> lease;  // What keeps it, if anything does.
};

// One sample's progress as a client sees it: the engine's output, cut where a stop string ended it, and its text.
struct ResponseDelta {
  SequenceOutput output;
  std::string text;
  std::string stop_string;  // Where one ended the sample: the one.
  // Where the request asked for tool calls: the text and the calls in their order. The text is the plain one above.
  std::vector<AnswerPiece> pieces = {};
  bool ends_with_calls = false;  // On a sample's end: it stopped by itself, and there were calls.
  std::optional<SessionState> session = {};  // With the last output of a request that runs in one.
};

// Takes what the stream thread makes of a request, whatever protocol carries it to the client.
class ResponseSink {
 public:
  virtual ~ResponseSink() = default;
  // Called by the stream thread, in order; must not block. The call with `delta.output.last` set is the last one and
  // always comes; the sink may be destroyed from then on.
  virtual void Deliver(ResponseDelta delta) = 0;
};

// Constant once made, but for `cancelled`.
struct RequestContext {
  RequestId id = 0;
  RequestOrigin origin;
  ResponseSink* sink = nullptr;  // Alive until it was given the last delta.
  std::shared_ptr<SessionRequest> session;  // Null: it runs in none. Else the sink.
  int num_samples = 1;
  int min_tokens = 0;
  int max_tokens = 0;  // 0: the client did not say.
  std::vector<std::string> stop;
  absl::Time arrival;
  // Calls are looked for in this form, unless null; control tokens that it needs are shown to the parser as text.
  const CallSyntax* call_syntax = nullptr;
  bool parallel_calls = true;  // Else what follows the first call's is dropped, if it is a call.
  uint64_t call_id_seed = 0;
  std::vector<TokenId> shown_tokens;
  // Set before the engine is told to cancel, and looked at by every thread that takes the request a step further:
  // whichever comes first, a cancelled request does not run.
  std::atomic<bool> cancelled{false};
};

// The one output of a request that the engine did not run.
inline SequenceOutput LastOutput(RequestId id, absl::Status status) {
  SequenceOutput output;
  output.request = id;
  output.last = true;
  output.status = std::move(status);
  return output;
}

using RequestContextPtr = std::shared_ptr<RequestContext>;

}  // namespace quire
