// Any message of the Open Inference Protocol: refused with a reason, or read into a request that the pipeline can take.
#include "kernels/check.h"
#include "server/grpc/kserve/infer_request.h"
#include "tests/server/letter_tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const quire::LetterTokenizer& tokenizer = *new quire::LetterTokenizer;
  static const quire::ServedModel& model = *[] {
    auto* made = new quire::ServedModel;
    made->max_model_len = 1000;
    made->tokenizer = &tokenizer;
    return made;
  }();
  static const quire::RequestParser& parser = *new quire::RequestParser(model);
  inference::ModelInferRequest message;
  if (!message.ParseFromArray(data, static_cast<int>(size))) return 0;
  const auto request = quire::kserve::ParseInferRequest(parser, message);
  if (request.ok()) {
    QUIRE_CHECK(request->pipeline.generate.sampling.n >= 1);
    QUIRE_CHECK(!request->form.stream || request->form.echo.empty());
  } else {
    QUIRE_CHECK(!request.status().message().empty());
    QUIRE_CHECK(absl::IsInvalidArgument(request.status()) || absl::IsNotFound(request.status()));
  }
  return 0;
}
