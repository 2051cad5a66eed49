// StreamThread: turns the engine's tokens into what clients see. It detokenises, finds stop strings and tells the
// engine of them, counts, and hands each request's progress to its sink.
#pragma once

#include <functional>
#include <thread>
#include <unordered_map>
#include <variant>
#include <vector>

#include "engine/tokenizer/incremental_decoder.h"
#include "engine/tokenizer/tokenizer.h"
#include "server/mailbox.h"
#include "server/request_context.h"

namespace quire {

class StreamThread {
 public:
  struct Callbacks {
    // A stop string was found in a sample's text. The engine may have gone further by then: what it still sends of the
    // sample is dropped, but for its end.
    std::function<void(RequestId, int index)> finish_sample;
    // Called before a request's last delta is delivered.
    std::function<void()> request_over;
  };

  // `tokenizer` outlives this object. Callbacks run on the stream thread and must not block.
  StreamThread(const Tokenizer& tokenizer, Callbacks callbacks);
  // Delivers what waits, then ends.
  ~StreamThread();

  // Both thread-safe and non-blocking. A request's stream is opened before anything can be pushed for it; its last
  // output closes it.
  void Open(RequestContextPtr context);
  void Push(std::vector<SequenceOutput> outputs);

 private:
  struct Sample {
    IncrementalDecoder decoder;
    int num_tokens = 0;
  };
  struct Stream {
    RequestContextPtr context;
    std::vector<Sample> samples;
    int completion_tokens = 0;
  };

  void Run();
  void Handle(RequestContextPtr& context);
  void Handle(std::vector<SequenceOutput>& outputs);
  ResponseDelta Advance(Stream& stream, SequenceOutput output);
  std::string Detokenize(Stream& stream, SequenceOutput& output);

  Mailbox<std::variant<RequestContextPtr, std::vector<SequenceOutput>>> mailbox_;
  const Tokenizer& tokenizer_;
  const Callbacks callbacks_;
  std::unordered_map<RequestId, Stream> streams_;  // Owned by the stream thread.
  std::thread thread_;
};

}  // namespace quire
