// InferAnswer: what a request has still to send, as tensors. What a client has not taken yet is merged, so a slow
// reader costs the size of its answer and no more.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kserve/grpc_service.pb.h"
#include "server/grpc/kserve/infer_request.h"
#include "server/request_context.h"

namespace quire::kserve {

class InferAnswer {
 public:
  // To `request`, whose tensors were read into the others.
  InferAnswer(const inference::ModelInferRequest& request, AnswerForm form, int num_samples);

  void Add(ResponseDelta delta);
  // The request was refused: this is its end.
  void Fail(absl::Status status);
  // Whether there is something to send by now: what a stream wants at once, others at the end.
  bool ready() const { return over_ || (form_.stream && added_); }
  // The last delta was added.
  bool over() const { return over_; }
  const absl::Status& status() const { return status_; }

  // Everything since the last call: one element for each sample in each tensor. REQUIRES: ready().
  void Take(inference::ModelInferResponse& response);
  // The same, or the error that it ended with. `response` is empty before.
  void Take(inference::ModelStreamInferResponse& response);

 private:
  void Identify(inference::ModelInferResponse& response) const;
  void Forget();

  const std::string id_;
  const std::string model_name_;
  const AnswerForm form_;
  std::vector<std::string> text_;            // [samples]
  std::vector<std::string> finish_reasons_;  // [samples] "stop" or "length"; empty while it goes on.
  std::vector<uint32_t> num_tokens_;         // [samples]
  uint32_t prompt_tokens_ = 0;
  bool added_ = false;
  bool over_ = false;
  absl::Status status_;
};

}  // namespace quire::kserve
