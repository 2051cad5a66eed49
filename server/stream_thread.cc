#include "server/stream_thread.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/request_log.h"

namespace quire {

// Nothing here is refused for want of room, so the mailbox's capacity does not matter.
StreamThread::StreamThread(const Tokenizer& tokenizer, Callbacks callbacks)
    : mailbox_(1), tokenizer_(tokenizer), callbacks_(std::move(callbacks)), thread_([this] { Run(); }) {}

StreamThread::~StreamThread() {
  mailbox_.Close();
  thread_.join();
}

void StreamThread::Open(RequestContextPtr context) { mailbox_.Push(std::move(context)); }

void StreamThread::Push(std::vector<SequenceOutput> outputs) { mailbox_.Push(std::move(outputs)); }

void StreamThread::Run() {
  std::vector<std::variant<RequestContextPtr, std::vector<SequenceOutput>>> messages;
  while (mailbox_.TakeAll(messages, /*wait=*/true)) {
    for (auto& message : messages) {
      std::visit([this](auto& m) { Handle(m); }, message);
    }
  }
}

void StreamThread::Handle(RequestContextPtr& context) {
  Stream stream;
  for (int i = 0; i < context->num_samples; ++i) {
    stream.samples.push_back({IncrementalDecoder(&tokenizer_, context->stop)});
  }
  const RequestId id = context->id;
  stream.context = std::move(context);
  const bool added = streams_.emplace(id, std::move(stream)).second;
  QUIRE_CHECK(added);
}

void StreamThread::Handle(std::vector<SequenceOutput>& outputs) {
  for (SequenceOutput& output : outputs) {
    const auto it = streams_.find(output.request);
    QUIRE_CHECK(it != streams_.end());
    const RequestContextPtr context = it->second.context;
    ResponseDelta delta = Advance(it->second, std::move(output));
    if (delta.output.last) {
      streams_.erase(it);
      LogRequestEnd(*context, delta.output);
      callbacks_.request_over();
    } else if (delta.text.empty() && delta.output.tokens.empty() && delta.output.prompt_logprobs.empty() &&
               delta.output.finish_reason == FinishReason::kNone) {
      continue;
    }
    context->sink->Deliver(std::move(delta));
  }
}

ResponseDelta StreamThread::Advance(Stream& stream, SequenceOutput output) {
  ResponseDelta delta;
  delta.text = Detokenize(stream, output);
  stream.completion_tokens += static_cast<int>(output.tokens.size());
  // Tokens past a stop string were never sent, so they are not counted either.
  if (output.last) output.usage.completion_tokens = stream.completion_tokens;
  delta.output = std::move(output);
  return delta;
}

// Drops from `output` what lies beyond a stop string, and returns the text of the rest.
std::string StreamThread::Detokenize(Stream& stream, SequenceOutput& output) {
  QUIRE_CHECK(output.index >= 0 && output.index < static_cast<int>(stream.samples.size()));
  Sample& sample = stream.samples[output.index];
  const bool finished = output.finish_reason != FinishReason::kNone;
  std::string text;
  size_t kept = 0;
  while (kept < output.tokens.size() && !sample.decoder.stopped()) {
    ++sample.num_tokens;
    text += sample.decoder.Push(output.tokens[kept++], sample.num_tokens >= stream.context->min_tokens);
    if (sample.decoder.stopped() && !finished) callbacks_.finish_sample(output.request, output.index);
  }
  output.tokens.resize(kept);
  if (output.logprobs.size() > kept) output.logprobs.resize(kept);
  if (!finished) return text;
  if (sample.decoder.stopped()) {
    output.finish_reason = FinishReason::kStop;
  } else {
    text += sample.decoder.Finish();
  }
  return text;
}

}  // namespace quire
