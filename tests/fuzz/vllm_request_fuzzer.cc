// Any bytes as a request of the gateways' protocol, and an answer to it.
#include <cstddef>
#include <cstdint>

#include "kernels/check.h"
#include "server/grpc/vllm/vllm_parser.h"
#include "server/grpc/vllm/vllm_pending_responses.h"
#include "tests/server/letter_tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace quire;
  static const LetterTokenizer tokenizer;
  static const ServedModel model = [] {
    ServedModel served;
    served.name = "letters";
    served.max_model_len = 100;
    served.tokenizer = &tokenizer;
    return served;
  }();
  static const VllmParser parser(model);
  ::vllm::grpc::engine::GenerateRequest request;
  if (!request.ParseFromArray(data, static_cast<int>(size))) return 0;
  const absl::StatusOr<PipelineRequest> parsed = parser.Parse(request);
  if (!parsed.ok()) {
    QUIRE_CHECK(absl::IsInvalidArgument(parsed.status()) || absl::IsUnimplemented(parsed.status()));
    return 0;
  }
  QUIRE_CHECK(Validate(parsed->generate.sampling, tokenizer.vocab_size()).ok());
  VllmPendingResponses pending(request);
  ResponseDelta delta;
  delta.output.tokens = {1};
  delta.output.logprobs = {{1, -1.0f, {{1, -1.0f}}}};
  delta.output.prompt_logprobs = delta.output.logprobs;
  delta.output.finish_reason = FinishReason::kStop;
  delta.output.last = true;
  pending.Add(std::move(delta));
  while (!pending.empty()) (void)pending.Pop();
  return 0;
}
