#include "server/grpc/vllm/vllm_pending_responses.h"

#include <algorithm>
#include <utility>

#include "kernels/check.h"

namespace quire {
namespace {

namespace pb = ::vllm::grpc::engine;

const char* ToString(FinishReason reason) { return reason == FinishReason::kLength ? "length" : "stop"; }

void Convert(const TokenLogprob& logprob, pb::TopLogProbs& proto) {
  for (const auto& [token, value] : logprob.top) {
    proto.add_token_ids(token);
    proto.add_values(value);
  }
}

template <typename Proto>
void SetUsage(const Usage& usage, Proto& proto) {
  proto.set_prompt_tokens(usage.prompt_tokens);
  proto.set_cached_tokens(usage.cached_tokens);
}

}  // namespace

VllmPendingResponses::VllmPendingResponses(const pb::GenerateRequest& request, TokenId first_prompt_token)
    : stream_(request.stream()),
      num_logprobs_(request.sampling_params().logprobs()),
      num_prompt_logprobs_(request.sampling_params().prompt_logprobs()),
      stop_token_ids_(request.sampling_params().stop_token_ids().begin(),
                      request.sampling_params().stop_token_ids().end()),
      first_prompt_token_(first_prompt_token) {}

void VllmPendingResponses::Add(ResponseDelta delta) {
  const SequenceOutput& output = delta.output;
  while (static_cast<int>(samples_.size()) <= output.index) samples_.emplace_back();
  Sample& sample = samples_[output.index];
  pb::GenerateComplete& complete = sample.complete;
  complete.mutable_output_ids()->Add(output.tokens.begin(), output.tokens.end());
  if (stream_) sample.chunk.mutable_token_ids()->Add(output.tokens.begin(), output.tokens.end());
  if (!output.logprobs.empty()) {
    Convert(output.logprobs, stream_ ? *sample.chunk.mutable_output_logprobs() : *complete.mutable_output_logprobs());
  }
  if (!output.prompt_logprobs.empty()) {
    ConvertPrompt(output.prompt_logprobs,
                  stream_ ? *sample.chunk.mutable_input_logprobs() : *complete.mutable_input_logprobs());
  }
  SetUsage(output.usage, complete);
  SetUsage(output.usage, sample.chunk);
  if (output.finish_reason != FinishReason::kNone) {
    sample.finished = true;
    complete.set_index(output.index);
    complete.set_completion_tokens(complete.output_ids_size());
    complete.set_finish_reason(ToString(output.finish_reason));
    if (!delta.stop_string.empty()) {
      complete.set_matched_stop_str(std::move(delta.stop_string));
    } else if (output.finish_reason == FinishReason::kStop && MatchesStopToken(complete)) {
      complete.set_matched_token_id(*complete.output_ids().rbegin());
    }
  }
  const bool has_message = sample.finished || sample.chunk.token_ids_size() > 0;
  if (has_message && std::find(ready_.begin(), ready_.end(), output.index) == ready_.end()) {
    ready_.push_back(output.index);
  }
}

VllmPendingResponses::Message VllmPendingResponses::Pop() {
  QUIRE_CHECK(!ready_.empty());
  const int index = ready_.front();
  Sample& sample = samples_[index];
  Message message;
  if (sample.chunk.token_ids_size() > 0) {
    sample.chunk.set_index(index);
    sample.chunk.set_completion_tokens(sample.chunk.token_ids_size());
    message.mutable_chunk()->Swap(&sample.chunk);
    sample.chunk.Clear();
    if (sample.finished) return message;  // The end is still to come.
  } else {
    message.mutable_complete()->Swap(&sample.complete);
  }
  ready_.pop_front();
  return message;
}

bool VllmPendingResponses::MatchesStopToken(const pb::GenerateComplete& complete) const {
  return complete.output_ids_size() > 0 && std::find(stop_token_ids_.begin(), stop_token_ids_.end(),
                                                     *complete.output_ids().rbegin()) != stop_token_ids_.end();
}

void VllmPendingResponses::Convert(const std::vector<TokenLogprob>& logprobs, pb::OutputLogProbs& proto) const {
  for (const TokenLogprob& logprob : logprobs) {
    proto.add_token_ids(logprob.token);
    proto.add_token_logprobs(logprob.logprob);
    if (num_logprobs_ > 0) quire::Convert(logprob, *proto.add_top_logprobs());
  }
}

// The first token of a prompt is there without a value: nothing foretells it.
void VllmPendingResponses::ConvertPrompt(const std::vector<TokenLogprob>& logprobs, pb::InputLogProbs& proto) const {
  proto.add_token_ids(first_prompt_token_);
  proto.add_token_logprobs();
  if (num_prompt_logprobs_ > 0) proto.add_top_logprobs();
  for (const TokenLogprob& logprob : logprobs) {
    proto.add_token_ids(logprob.token);
    proto.add_token_logprobs()->set_value(logprob.logprob);
    if (num_prompt_logprobs_ > 0) quire::Convert(logprob, *proto.add_top_logprobs());
  }
}

}  // namespace quire
