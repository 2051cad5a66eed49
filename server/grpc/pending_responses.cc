#include "server/grpc/pending_responses.h"

#include <algorithm>
#include <utility>

#include "kernels/check.h"
#include "server/grpc/lease_conversion.h"
#include "server/grpc/time_conversion.h"

namespace quire {
namespace {

v1::FinishReason ToProto(FinishReason reason) {
  switch (reason) {
    case FinishReason::kNone:
      return v1::FINISH_REASON_UNSPECIFIED;
    case FinishReason::kStop:
      return v1::FINISH_REASON_STOP;
    case FinishReason::kLength:
      return v1::FINISH_REASON_LENGTH;
  }
  return v1::FINISH_REASON_UNSPECIFIED;
}

void Convert(const TokenLogprob& logprob, v1::TokenLogprob& proto) {
  proto.set_token_id(logprob.token);
  proto.set_logprob(logprob.logprob);
  for (const auto& [token, value] : logprob.top) {
    auto* alternative = proto.add_top();
    alternative->set_token_id(token);
    alternative->set_logprob(value);
  }
}

// Plain text is in the message already.
void AddPiece(const AnswerPiece& piece, v1::GenerateResponse& message) {
  if (piece.call < 0) return;
  auto& calls = *message.mutable_tool_calls();
  if (calls.empty() || calls.rbegin()->index() != piece.call) {
    v1::ToolCallDelta& call = *calls.Add();
    call.set_index(piece.call);
    call.set_id(piece.id);
    call.set_name(piece.name);
  }
  calls.rbegin()->mutable_arguments()->append(piece.text);
}

}  // namespace

void PendingResponses::Add(ResponseDelta delta) {
  SequenceOutput& output = delta.output;
  auto message = std::find_if(messages_.begin(), messages_.end(),
                              [&output](const v1::GenerateResponse& m) { return m.index() == output.index; });
  if (message == messages_.end()) {
    message = messages_.emplace(messages_.end());
    message->set_index(output.index);
  }
  message->mutable_text()->append(delta.text);
  message->mutable_token_ids()->Add(output.tokens.begin(), output.tokens.end());
  for (const TokenLogprob& logprob : output.logprobs) Convert(logprob, *message->add_logprobs());
  for (const TokenLogprob& logprob : output.prompt_logprobs) Convert(logprob, *message->add_prompt_logprobs());
  for (const AnswerPiece& piece : delta.pieces) AddPiece(piece, *message);
  if (output.finish_reason != FinishReason::kNone) message->set_finish_reason(ToProto(output.finish_reason));
  if (delta.ends_with_calls) message->set_finish_reason(v1::FINISH_REASON_TOOL_CALLS);
  if (!output.last) return;
  v1::Usage& usage = *totals_.mutable_usage();
  usage.set_prompt_tokens(output.usage.prompt_tokens);
  usage.set_cached_tokens(output.usage.cached_tokens);
  usage.set_completion_tokens(output.usage.completion_tokens);
  usage.set_cached_tokens_host(output.usage.cached_tokens_host);
  usage.set_cached_tokens_disk(output.usage.cached_tokens_disk);
  Convert(output.timings.queue, *totals_.mutable_timings()->mutable_queue());
  Convert(output.timings.prefill, *totals_.mutable_timings()->mutable_prefill());
  Convert(output.timings.decode, *totals_.mutable_timings()->mutable_decode());
  if (!delta.session) return;
  totals_.mutable_session()->set_session_id(delta.session->id);
  totals_.mutable_session()->set_history_tokens(delta.session->num_tokens);
  if (delta.session->lease) Convert(*delta.session->lease, *totals_.mutable_session()->mutable_lease());
}

v1::GenerateResponse PendingResponses::Pop() {
  QUIRE_CHECK(!messages_.empty());
  v1::GenerateResponse message = std::move(messages_.front());
  messages_.pop_front();
  if (messages_.empty()) message.MergeFrom(totals_);
  return message;
}

}  // namespace quire
