#include "server/grpc/kserve/infer_reactor.h"

#include "server/status_details.h"

namespace quire::kserve {
namespace {

absl::StatusOr<PipelineRequest> TakePipelineRequest(absl::StatusOr<InferRequest>& parsed) {
  if (!parsed.ok()) return parsed.status();
  if (parsed->form.stream) {
    return InvalidField("stream", "must be false: only ModelStreamInfer sends more than one response");
  }
  return std::move(parsed->pipeline);
}

}  // namespace

InferReactor* InferReactor::Start(grpc::CallbackServerContext* context, ServingPipeline& pipeline,
                                  const inference::ModelInferRequest& request, absl::StatusOr<InferRequest> parsed,
                                  inference::ModelInferResponse* response) {
  const int num_samples = parsed.ok() ? parsed->pipeline.generate.sampling.n : 0;
  AnswerForm form = parsed.ok() ? parsed->form : AnswerForm();
  auto* reactor = new InferReactor(context, pipeline, InferAnswer(request, std::move(form), num_samples), response);
  reactor->Run(TakePipelineRequest(parsed));
  return reactor;
}

absl::Status InferReactor::Add(ResponseDelta delta) {
  answer_.Add(std::move(delta));
  if (answer_.over() && answer_.status().ok()) answer_.Take(*response_);
  return answer_.status();
}

}  // namespace quire::kserve
