#include "server/grpc/inference_service.h"

#include <exception>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/types/status_macros.h"
#include "server/grpc/call_metadata.h"
#include "server/grpc/generate_reactor.h"
#include "server/grpc/pending_responses.h"
#include "server/grpc/status_conversion.h"
#include "server/status_details.h"

namespace quire {

grpc::ServerWriteReactor<v1::GenerateResponse>* InferenceService::Generate(grpc::CallbackServerContext* context,
                                                                           const v1::GenerateRequest* request) {
  return GenerateReactor<PendingResponses>::Start(context, pipeline_, parser_.Parse(*request), {});
}

grpc::ServerWriteReactor<v1::GenerateResponse>* InferenceService::Chat(grpc::CallbackServerContext* context,
                                                                       const v1::ChatRequest* request) {
  return GenerateReactor<PendingResponses>::Start(context, pipeline_, parser_.Parse(*request), {});
}

grpc::ServerUnaryReactor* InferenceService::Tokenize(grpc::CallbackServerContext* context,
                                                     const v1::TokenizeRequest* request,
                                                     v1::TokenizeResponse* response) {
  return RunOnTextWorker(context, parser_.Check(*request), [this, request, response]() -> absl::Status {
    const EncodeOptions options{.add_special = request->add_special_tokens(),
                                .parse_special = request->parse_special_tokens()};
    ASSIGN_OR_RETURN(const std::vector<TokenId> tokens, pipeline_.model().tokenizer->Encode(request->text(), options));
    response->mutable_token_ids()->Add(tokens.begin(), tokens.end());
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* InferenceService::Detokenize(grpc::CallbackServerContext* context,
                                                       const v1::DetokenizeRequest* request,
                                                       v1::DetokenizeResponse* response) {
  return RunOnTextWorker(context, parser_.Check(*request), [this, request, response]() -> absl::Status {
    const std::vector<TokenId> tokens(request->token_ids().begin(), request->token_ids().end());
    ASSIGN_OR_RETURN(*response->mutable_text(), Decode(*pipeline_.model().tokenizer, tokens, /*keep_special=*/true));
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* InferenceService::ListModels(grpc::CallbackServerContext* context,
                                                       const v1::ListModelsRequest* /*request*/,
                                                       v1::ListModelsResponse* response) {
  const absl::Status allowed = IdentifyCaller(pipeline_.tenants(), *context).status();
  if (!allowed.ok()) return Finished(context, allowed);
  const ServedModel& model = pipeline_.model();
  v1::ModelInfo& info = *response->add_models();
  info.set_name(model.name);
  info.set_architecture(model.architecture);
  info.set_max_model_len(model.max_model_len);
  info.set_vocab_size(model.tokenizer->vocab_size());
  info.set_parameters(model.parameters);
  return Finished(context, absl::OkStatus());
}

grpc::ServerUnaryReactor* InferenceService::RunOnTextWorker(grpc::CallbackServerContext* context,
                                                            const absl::Status& checked,
                                                            std::function<absl::Status()> job) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  const auto finish = [context, reactor](const absl::Status& status) {
    SendRequestId(ReadOrigin(Protocol::kQuire, *context), status, *context);
    reactor->Finish(ToGrpcStatus(status, *context));
  };
  absl::Status allowed = IdentifyCaller(pipeline_.tenants(), *context).status();
  allowed.Update(checked);
  if (!allowed.ok()) {
    finish(allowed);
    return reactor;
  }
  const bool posted = pipeline_.TryPostText([finish, job = std::move(job)] {
    absl::Status status;
    try {
      status = job();
    } catch (const std::exception& error) {  // Of the libraries that read text.
      status = absl::InternalError(absl::StrCat("reading the text failed: ", error.what()));
    }
    finish(status);
  });
  if (!posted) finish(TryAgainLater("too many texts wait to be tokenised"));
  return reactor;
}

}  // namespace quire
