#include "server/stream_thread.h"

#include <algorithm>
#include <utility>

#include "absl/time/clock.h"
#include "engine/types/sequence.h"

namespace quire {

// Nothing here is refused for want of room, so the mailbox's capacity does not matter.
StreamThread::StreamThread(const Tokenizer& tokenizer, Metrics& metrics, Callbacks callbacks)
    : mailbox_(1), tokenizer_(tokenizer), metrics_(metrics), callbacks_(std::move(callbacks)), thread_([this] {
        Run();
      }) {}

StreamThread::~StreamThread() {
  mailbox_.Close();
  thread_.join();
}

void StreamThread::Open(RequestContextPtr context) { mailbox_.Push(std::move(context)); }

void StreamThread::Push(std::vector<SequenceOutput> outputs, std::optional<StepReport> report) {
  mailbox_.Push(StepMessage{std::move(outputs), std::move(report)});
}

void StreamThread::Post(Job job) { mailbox_.Push(std::move(job)); }

void StreamThread::Run() {
  std::vector<Message> messages;
  while (mailbox_.TakeAll(messages, /*wait=*/true)) {
    for (Message& message : messages) {
      std::visit([this](auto& m) { Handle(m); }, message);
    }
  }
}

void StreamThread::Handle(RequestContextPtr& context) {
  Stream stream;
  for (int i = 0; i < context->num_samples; ++i) {
    Sample& sample = stream.samples.emplace_back(
        Sample{.decoder = IncrementalDecoder(&tokenizer_, context->stop, context->shown_tokens)});
    if (context->call_syntax == nullptr) continue;
    sample.calls.emplace(*context->call_syntax, SampleSeed(context->call_id_seed, i));
  }
  const RequestId id = context->id;
  stream.context = std::move(context);
  const bool added = streams_.emplace(id, std::move(stream)).second;
  QUIRE_CHECK(added);
}

void StreamThread::Handle(StepMessage& step) {
  // Whoever gets a delta finds it in the metrics.
  if (step.report.has_value()) metrics_.StepDone(*step.report);
  const absl::Time now = absl::Now();
  for (SequenceOutput& output : step.outputs) {
    const auto it = streams_.find(output.request);
    QUIRE_CHECK(it != streams_.end());
    const RequestContextPtr context = it->second.context;
    ResponseDelta delta = Advance(it->second, std::move(output), now);
    if (delta.output.last) {
      const RequestRecord record = Close(it->second, delta.output, now);
      streams_.erase(it);
      callbacks_.request_over(record);
    } else if (delta.text.empty() && delta.output.tokens.empty() && delta.output.prompt_logprobs.empty() &&
               delta.output.finish_reason == FinishReason::kNone) {
      continue;
    }
    context->sink->Deliver(std::move(delta));
  }
}

ResponseDelta StreamThread::Advance(Stream& stream, SequenceOutput output, absl::Time now) {
  ResponseDelta delta;
  delta.output = std::move(output);
  Detokenize(stream, delta);
  if (!delta.output.tokens.empty()) CountTokens(stream, delta.output, now);
  if (delta.output.finish_reason != FinishReason::kNone) {
    stream.samples[delta.output.index].finish_reason = delta.output.finish_reason;
  }
  // Tokens past a stop string were never sent, so they are not counted either.
  delta.output.usage.completion_tokens = stream.completion_tokens;
  FindCalls(stream, delta);
  return delta;
}

void StreamThread::CountTokens(Stream& stream, const SequenceOutput& output, absl::Time now) {
  stream.completion_tokens += static_cast<int>(output.tokens.size());
  Sample& sample = stream.samples[output.index];
  if (!stream.first_token.has_value()) {
    stream.first_token = now - stream.context->arrival;
    metrics_.FirstToken(*stream.first_token);
  }
  if (sample.last_token != absl::InfinitePast()) metrics_.NextToken(now - sample.last_token);
  sample.last_token = now;
}

RequestRecord StreamThread::Close(const Stream& stream, const SequenceOutput& last, absl::Time now) {
  RequestRecord record;
  record.origin = stream.context->origin;
  record.status = last.status.code();
  record.num_samples = stream.context->num_samples;
  record.max_tokens = stream.context->max_tokens;
  for (const Sample& sample : stream.samples) {
    record.finish_reasons.push_back(sample.finish_reason);
    record.longest_sample = std::max(record.longest_sample, sample.num_tokens);
  }
  record.usage = last.usage;
  record.timings = last.timings;
  record.first_token = stream.first_token;
  record.latency = now - stream.context->arrival;
  return record;
}

// Splits the text into what is plain and what belongs to calls.
void StreamThread::FindCalls(Stream& stream, ResponseDelta& delta) {
  std::optional<ToolCallParser>& calls = stream.samples[delta.output.index].calls;
  if (!calls) return;
  delta.pieces = calls->Push(delta.text);
  if (delta.output.finish_reason != FinishReason::kNone) {
    for (AnswerPiece& piece : calls->Finish()) Append(std::move(piece), delta.pieces);
    delta.ends_with_calls = delta.output.finish_reason == FinishReason::kStop && calls->num_calls() > 0;
  }
  if (!stream.context->parallel_calls) {
    std::erase_if(delta.pieces, [](const AnswerPiece& piece) { return piece.call > 0; });
  }
  delta.text.clear();
  for (const AnswerPiece& piece : delta.pieces) {
    if (piece.call < 0) delta.text += piece.text;
  }
}

// Drops from the output what lies beyond a stop string, and adds the text of the rest.
void StreamThread::Detokenize(Stream& stream, ResponseDelta& delta) {
  SequenceOutput& output = delta.output;
  QUIRE_CHECK(output.index >= 0 && output.index < static_cast<int>(stream.samples.size()));
  Sample& sample = stream.samples[output.index];
  const bool finished = output.finish_reason != FinishReason::kNone;
  size_t kept = 0;
  while (kept < output.tokens.size() && !sample.decoder.stopped()) {
    ++sample.num_tokens;
    delta.text += sample.decoder.Push(output.tokens[kept++], sample.num_tokens >= stream.context->min_tokens);
    if (sample.decoder.stopped() && !finished) callbacks_.finish_sample(output.request, output.index);
  }
  output.tokens.resize(kept);
  if (output.logprobs.size() > kept) output.logprobs.resize(kept);
  if (!finished) return;
  if (!sample.decoder.stopped()) delta.text += sample.decoder.Finish();
  if (!sample.decoder.stopped()) return;
  output.finish_reason = FinishReason::kStop;
  delta.stop_string = sample.decoder.stop_string();
}

}  // namespace quire
