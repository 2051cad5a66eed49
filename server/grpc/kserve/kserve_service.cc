#include "server/grpc/kserve/kserve_service.h"

#include "server/grpc/call_metadata.h"
#include "server/grpc/kserve/infer_reactor.h"
#include "server/grpc/kserve/infer_request.h"
#include "server/grpc/kserve/stream_infer_reactor.h"
#include "server/grpc/status_conversion.h"
#include "server/version.h"

namespace quire::kserve {
namespace {

constexpr char kPlatform[] = "quire";

struct TensorSpec {
  const char* name;
  const char* datatype;           // As metadata and requests have it,
  inference::DataType data_type;  // and as configurations do.
  bool optional;
  int64_t size;  // -1: one element a sample.
};

constexpr TensorSpec kInputs[] = {
    {"text_input", "BYTES", inference::TYPE_STRING, false, 1},
    {"stream", "BOOL", inference::TYPE_BOOL, true, 1},
    {"sampling_parameters", "BYTES", inference::TYPE_STRING, true, 1},
    {"exclude_input_in_output", "BOOL", inference::TYPE_BOOL, true, 1},
    {"return_finish_reason", "BOOL", inference::TYPE_BOOL, true, 1},
    {"return_num_input_tokens", "BOOL", inference::TYPE_BOOL, true, 1},
    {"return_num_output_tokens", "BOOL", inference::TYPE_BOOL, true, 1},
};
constexpr TensorSpec kOutputs[] = {
    {"text_output", "BYTES", inference::TYPE_STRING, false, -1},
    {"finish_reason", "BYTES", inference::TYPE_STRING, false, -1},
    {"num_input_tokens", "UINT32", inference::TYPE_UINT32, false, 1},
    {"num_output_tokens", "UINT32", inference::TYPE_UINT32, false, -1},
};

void Describe(const TensorSpec& spec, inference::ModelMetadataResponse::TensorMetadata& metadata) {
  metadata.set_name(spec.name);
  metadata.set_datatype(spec.datatype);
  metadata.add_shape(spec.size);
}

template <typename Config>
void Configure(const TensorSpec& spec, Config& config) {
  config.set_name(spec.name);
  config.set_data_type(spec.data_type);
  config.add_dims(spec.size);
}

}  // namespace

grpc::ServerUnaryReactor* KserveService::ServerLive(grpc::CallbackServerContext* context,
                                                    const inference::ServerLiveRequest* /*request*/,
                                                    inference::ServerLiveResponse* response) {
  response->set_live(true);
  return Finished(context, absl::OkStatus());
}

grpc::ServerUnaryReactor* KserveService::ServerReady(grpc::CallbackServerContext* context,
                                                     const inference::ServerReadyRequest* /*request*/,
                                                     inference::ServerReadyResponse* response) {
  response->set_ready(pipeline_.admitting());
  return Finished(context, absl::OkStatus());
}

grpc::ServerUnaryReactor* KserveService::ModelReady(grpc::CallbackServerContext* context,
                                                    const inference::ModelReadyRequest* request,
                                                    inference::ModelReadyResponse* response) {
  const bool served = CheckModel(parser_.checks(), request->name(), request->version()).ok();
  response->set_ready(served && pipeline_.admitting());
  return Finished(context, absl::OkStatus());
}

grpc::ServerUnaryReactor* KserveService::ServerMetadata(grpc::CallbackServerContext* context,
                                                        const inference::ServerMetadataRequest* /*request*/,
                                                        inference::ServerMetadataResponse* response) {
  const absl::Status allowed = IdentifyCaller(pipeline_.tenants(), *context).status();
  if (!allowed.ok()) return Finished(context, allowed);
  response->set_name(kPlatform);
  response->set_version(kVersion);
  response->add_extensions("model_configuration");
  return Finished(context, absl::OkStatus());
}

grpc::ServerUnaryReactor* KserveService::ModelMetadata(grpc::CallbackServerContext* context,
                                                       const inference::ModelMetadataRequest* request,
                                                       inference::ModelMetadataResponse* response) {
  absl::Status found = IdentifyCaller(pipeline_.tenants(), *context).status();
  found.Update(CheckModel(parser_.checks(), request->name(), request->version()));
  if (!found.ok()) return Finished(context, found);
  response->set_name(pipeline_.model().name);
  response->add_versions(kModelVersion);
  response->set_platform(kPlatform);
  for (const TensorSpec& spec : kInputs) Describe(spec, *response->add_inputs());
  for (const TensorSpec& spec : kOutputs) Describe(spec, *response->add_outputs());
  return Finished(context, absl::OkStatus());
}

grpc::ServerUnaryReactor* KserveService::ModelConfig(grpc::CallbackServerContext* context,
                                                     const inference::ModelConfigRequest* request,
                                                     inference::ModelConfigResponse* response) {
  absl::Status found = IdentifyCaller(pipeline_.tenants(), *context).status();
  found.Update(CheckModel(parser_.checks(), request->name(), request->version()));
  if (!found.ok()) return Finished(context, found);
  inference::ModelConfig& config = *response->mutable_config();
  config.set_name(pipeline_.model().name);
  config.set_backend(kPlatform);
  config.mutable_model_transaction_policy()->set_decoupled(true);
  for (const TensorSpec& spec : kInputs) {
    inference::ModelInput& input = *config.add_input();
    Configure(spec, input);
    input.set_optional(spec.optional);
  }
  for (const TensorSpec& spec : kOutputs) Configure(spec, *config.add_output());
  return Finished(context, absl::OkStatus());
}

grpc::ServerUnaryReactor* KserveService::RepositoryIndex(grpc::CallbackServerContext* context,
                                                         const inference::RepositoryIndexRequest* /*request*/,
                                                         inference::RepositoryIndexResponse* response) {
  const absl::Status allowed = IdentifyCaller(pipeline_.tenants(), *context).status();
  if (!allowed.ok()) return Finished(context, allowed);
  auto& model = *response->add_models();
  model.set_name(pipeline_.model().name);
  model.set_version(kModelVersion);
  model.set_state(pipeline_.admitting() ? "READY" : "UNAVAILABLE");
  return Finished(context, absl::OkStatus());
}

grpc::ServerUnaryReactor* KserveService::ModelInfer(grpc::CallbackServerContext* context,
                                                    const inference::ModelInferRequest* request,
                                                    inference::ModelInferResponse* response) {
  return InferReactor::Start(context, pipeline_, *request, ParseInferRequest(parser_, *request), response);
}

grpc::ServerBidiReactor<inference::ModelInferRequest, inference::ModelStreamInferResponse>*
KserveService::ModelStreamInfer(grpc::CallbackServerContext* context) {
  return new StreamInferReactor(context, pipeline_, parser_);
}

}  // namespace quire::kserve
