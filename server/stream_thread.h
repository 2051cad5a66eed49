// StreamThread: turns the engine's tokens into what clients see. It detokenises, finds stop strings and tells the
// engine of them, counts, tells the metrics, and hands each request's progress to its sink.
#pragma once

#include <functional>
#include <optional>
#include <thread>
#include <unordered_map>
#include <variant>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "engine/tokenizer/incremental_decoder.h"
#include "engine/tokenizer/tokenizer.h"
#include "server/mailbox.h"
#include "server/metrics/metrics.h"
#include "server/request_context.h"
#include "server/request_record.h"

namespace quire {

class StreamThread {
 public:
  struct Callbacks {
    // A stop string was found in a sample's text. The engine may have gone further by then: what it still sends of the
    // sample is dropped, but for its end.
    std::function<void(RequestId, int index)> finish_sample;
    // Called before a request's last delta is delivered.
    std::function<void(const RequestRecord&)> request_over;
  };

  // `tokenizer` and `metrics` outlive this object. Callbacks run on the stream thread and must not block.
  StreamThread(const Tokenizer& tokenizer, Metrics& metrics, Callbacks callbacks);
  // Delivers what waits, then ends.
  ~StreamThread();

  // Both thread-safe and non-blocking. A request's stream is opened before anything can be pushed for it; its last
  // output closes it. `report` is of the step that the outputs come from.
  void Open(RequestContextPtr context);
  void Push(std::vector<SequenceOutput> outputs, std::optional<StepReport> report = std::nullopt);
  // Runs `job` after what was pushed before it. It must not block.
  void Post(absl::AnyInvocable<void()> job);

 private:
  struct StepMessage {
    std::vector<SequenceOutput> outputs;
    std::optional<StepReport> report;
  };
  using Job = absl::AnyInvocable<void()>;
  using Message = std::variant<RequestContextPtr, StepMessage, Job>;
  struct Sample {
    IncrementalDecoder decoder;
    std::optional<ToolCallParser> calls = std::nullopt;  // Where calls are looked for.
    int num_tokens = 0;
    absl::Time last_token = absl::InfinitePast();  // When it was delivered.
    FinishReason finish_reason = FinishReason::kNone;
  };
  struct Stream {
    RequestContextPtr context;
    std::vector<Sample> samples;
    int completion_tokens = 0;
    std::optional<absl::Duration> first_token;  // Arrival until it was delivered.
  };

  void Run();
  void Handle(RequestContextPtr& context);
  void Handle(StepMessage& message);
  void Handle(Job& job) { job(); }
  ResponseDelta Advance(Stream& stream, SequenceOutput output, absl::Time now);
  void CountTokens(Stream& stream, const SequenceOutput& output, absl::Time now);
  static RequestRecord Close(const Stream& stream, const SequenceOutput& last, absl::Time now);
  void FindCalls(Stream& stream, ResponseDelta& delta);
  void Detokenize(Stream& stream, ResponseDelta& delta);

  Mailbox<Message> mailbox_;
  const Tokenizer& tokenizer_;
  Metrics& metrics_;
  const Callbacks callbacks_;
  std::unordered_map<RequestId, Stream> streams_;  // Owned by the stream thread.
  std::thread thread_;
};

}  // namespace quire
