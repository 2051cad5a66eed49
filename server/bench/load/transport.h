// How requests reach a server: one of these for each protocol. The load generator sees nothing else of the network,
// nor of time, so that tests can stand in for both.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace quire {

using LoadClock = std::chrono::steady_clock;

// What one side of a conversation says: text, or token ids where lengths must be exact. An answer has both if the
// protocol tells both.
struct Passage {
  std::string text;
  std::vector<int32_t> token_ids;
};

enum class PromptForm { kText, kTokenIds };

struct LoadRequest {
  std::vector<Passage> passages;  // The user's and the server's in turns; the first and the last are the user's.
  int max_tokens = 0;
};

// What the server says that a request was; all 0 where it does not say.
struct StreamUsage {
  int prompt_tokens = 0;
  int cached_tokens = 0;
  int completion_tokens = 0;
};

struct StreamEnd {
  std::string error_kind;  // Empty: it ended well. Else what errors of one cause share: "HTTP 429", "timeout".
  std::string error_message;
  StreamUsage usage;
};

// Hears of one stream from Transport::Poll, on the caller's thread.
class StreamObserver {
 public:
  virtual ~StreamObserver() = default;
  // A message with new tokens came: at least one; exactly how many is known to protocols that carry token ids.
  virtual void OnTokens(int count, const Passage& delta) = 0;
  // The last call. The observer may be gone afterwards.
  virtual void OnDone(const StreamEnd& end) = 0;
};

struct TransportOptions {
  enum class Endpoint { kCompletions, kChat };

  std::string target = {};  // host:port of a gRPC server, or
  std::string url = {};     // http://host[:port][/path] of an OpenAI-compatible one.
  Endpoint endpoint = Endpoint::kCompletions;
  PromptForm prompt_form = PromptForm::kText;
  std::string model = {};                                         // Empty: the first that the server lists.
  std::vector<std::pair<std::string, std::string>> headers = {};  // Of HTTP.
  bool ignore_eos = true;                                         // Ask for answers of exactly the length wanted.
  std::chrono::milliseconds timeout = std::chrono::minutes(10);   // Of each request.
};

class Transport {
 public:
  virtual ~Transport() = default;

  // Sends a request and forgets it; `observer` must live until its OnDone. Never blocks. May be called from observers.
  virtual void Start(const LoadRequest& request, StreamObserver* observer) = 0;

  // Lets observers hear of what has happened; waits for something to happen until `deadline` at most.
  virtual void Poll(LoadClock::time_point deadline) = 0;

  virtual LoadClock::time_point Now() const { return LoadClock::now(); }

  // Of the model being served; 0: the protocol does not tell.
  virtual int vocab_size() const { return 0; }
  virtual const std::string& model() const = 0;
};

// Both ask the server what it serves. UNAVAILABLE when nothing answers there.
absl::StatusOr<std::unique_ptr<Transport>> MakeGrpcTransport(const TransportOptions& options);
absl::StatusOr<std::unique_ptr<Transport>> MakeHttpTransport(const TransportOptions& options);

}  // namespace quire
