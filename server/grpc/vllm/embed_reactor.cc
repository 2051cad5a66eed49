#include "server/grpc/vllm/embed_reactor.h"

#include <utility>
#include <vector>

#include "server/embedding.h"

namespace quire {

EmbedReactor* EmbedReactor::Start(grpc::CallbackServerContext* context, ServingPipeline& pipeline,
                                  absl::StatusOr<PipelineRequest> parsed,
                                  ::vllm::grpc::engine::EmbedResponse* response) {
  auto* reactor = new EmbedReactor(context, pipeline, response);
  reactor->Run(std::move(parsed));
  return reactor;
}

absl::Status EmbedReactor::Add(ResponseDelta delta) {
  SequenceOutput& output = delta.output;
  if (!output.last || !output.status.ok()) return absl::OkStatus();
  std::vector<float> values = std::move(output.embedding);
  Normalize(values);
  response_->mutable_embedding()->Add(values.begin(), values.end());
  response_->set_embedding_dim(static_cast<uint32_t>(values.size()));
  response_->set_prompt_tokens(static_cast<uint32_t>(output.usage.prompt_tokens));
  return absl::OkStatus();
}

}  // namespace quire
