// VllmPendingResponses: what a stream of vllm.grpc.engine has still to send.
#pragma once

#include <deque>
#include <vector>

#include "server/request_context.h"
#include "smg/vllm_engine.pb.h"

namespace quire {

// Who asks for a stream gets chunks with the new tokens, as many as have come since the last one; who does not gets
// none. Either way a sample ends with a message that has all of its tokens.
class VllmPendingResponses {
 public:
  using Message = ::vllm::grpc::engine::GenerateResponse;
  static constexpr Protocol kProtocol = Protocol::kVllm;

  // `first_prompt_token` as the engine gets it: it is listed with the log-probabilities of the prompt.
  explicit VllmPendingResponses(const ::vllm::grpc::engine::GenerateRequest& request, TokenId first_prompt_token = 0);

  void Add(ResponseDelta delta);
  bool empty() const { return ready_.empty(); }
  // The oldest message. REQUIRES: !empty().
  Message Pop();

 private:
  struct Sample {
    ::vllm::grpc::engine::GenerateStreamChunk chunk;
    ::vllm::grpc::engine::GenerateComplete complete;
    bool finished = false;
  };

  bool MatchesStopToken(const ::vllm::grpc::engine::GenerateComplete& complete) const;
  void Convert(const std::vector<TokenLogprob>& logprobs, ::vllm::grpc::engine::OutputLogProbs& proto) const;
  void ConvertPrompt(const std::vector<TokenLogprob>& logprobs, ::vllm::grpc::engine::InputLogProbs& proto) const;

  const bool stream_;
  const int num_logprobs_, num_prompt_logprobs_;
  const std::vector<uint32_t> stop_token_ids_;
  const TokenId first_prompt_token_;
  std::deque<Sample> samples_;  // By index.
  std::deque<int> ready_;       // Those that have something to send, oldest first.
};

}  // namespace quire
