#include <grpcpp/grpcpp.h>

#include <chrono>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "quire/v1/inference.grpc.pb.h"
#include "server/bench/load/transport.h"
#include "server/client_channel.h"

namespace quire {
namespace {

constexpr std::chrono::seconds kFirstAnswerTimeout{10};

void FillSamplingParams(const LoadRequest& request, bool ignore_eos, v1::SamplingParams* params) {
  params->set_temperature(0);
  params->set_max_tokens(request.max_tokens);
  params->set_ignore_eos(ignore_eos);
}

// quire.v1 through a completion queue, which one thread can both wait at and take timers from.
class GrpcTransport : public Transport {
 public:
  GrpcTransport(const TransportOptions& options, std::unique_ptr<v1::InferenceService::Stub> stub,
                const v1::ModelInfo& model)
      : options_(options), stub_(std::move(stub)), model_(model.name()), vocab_size_(model.vocab_size()) {}

  ~GrpcTransport() override {
    queue_.Shutdown();
    void* tag = nullptr;
    for (bool ok = false; queue_.Next(&tag, &ok);) static_cast<Stream*>(tag)->OnEvent(ok);
  }

  void Start(const LoadRequest& request, StreamObserver* observer) override {
    auto* const stream = new Stream(observer);
    stream->context.set_deadline(std::chrono::system_clock::now() + options_.timeout);
    if (options_.endpoint == TransportOptions::Endpoint::kChat) {
      stream->reader = stub_->PrepareAsyncChat(&stream->context, ToChatRequest(request), &queue_);
    } else {
      stream->reader = stub_->PrepareAsyncGenerate(&stream->context, ToGenerateRequest(request), &queue_);
    }
    stream->reader->StartCall(stream);
  }

  void Poll(LoadClock::time_point deadline) override {
    void* tag = nullptr;
    bool ok = false;
    const auto until = std::chrono::system_clock::now() + (deadline - LoadClock::now());
    if (queue_.AsyncNext(&tag, &ok, until) == grpc::CompletionQueue::GOT_EVENT) static_cast<Stream*>(tag)->OnEvent(ok);
  }

  int vocab_size() const override { return vocab_size_; }
  const std::string& model() const override { return model_; }

 private:
  // A call, its own tag in the queue: one operation of it is under way at any time. Deletes itself at its end.
  struct Stream {
    explicit Stream(StreamObserver* hears) : observer(hears) {}

    void OnEvent(bool ok) {
      if (finishing) {
        observer->OnDone(End());
        delete this;
        return;
      }
      if (started && ok) Deliver();
      started = true;
      if (ok) {
        reader->Read(&message, this);
      } else {
        finishing = true;
        reader->Finish(&status, this);
      }
    }

    void Deliver() {
      if (message.has_usage()) usage = message.usage();
      if (message.token_ids_size() == 0) return;
      observer->OnTokens(message.token_ids_size(),
                         {message.text(), {message.token_ids().begin(), message.token_ids().end()}});
    }

    StreamEnd End() const {
      StreamEnd end;
      end.usage = {usage.prompt_tokens(), usage.cached_tokens(), usage.completion_tokens()};
      if (!status.ok()) {
        end.error_kind = absl::StatusCodeToString(static_cast<absl::StatusCode>(status.error_code()));
        end.error_message = status.error_message();
      }
      return end;
    }

    StreamObserver* const observer;
    grpc::ClientContext context;
    std::unique_ptr<grpc::ClientAsyncReader<v1::GenerateResponse>> reader;
    v1::GenerateResponse message;
    v1::Usage usage;
    grpc::Status status;
    bool started = false;
    bool finishing = false;
  };

  v1::GenerateRequest ToGenerateRequest(const LoadRequest& request) const {
    v1::GenerateRequest out;
    out.set_model(model_);
    for (const Passage& passage : request.passages) {
      if (options_.prompt_form == PromptForm::kTokenIds) {
        out.mutable_token_ids()->mutable_ids()->Add(passage.token_ids.begin(), passage.token_ids.end());
      } else {
        out.mutable_text()->append(passage.text);
      }
    }
    FillSamplingParams(request, options_.ignore_eos, out.mutable_sampling_params());
    return out;
  }

  v1::ChatRequest ToChatRequest(const LoadRequest& request) const {
    v1::ChatRequest out;
    out.set_model(model_);
    for (const Passage& passage : request.passages) {
      v1::ChatMessage* const message = out.add_messages();
      message->set_role(out.messages_size() % 2 == 1 ? "user" : "assistant");
      message->set_content(passage.text);
    }
    FillSamplingParams(request, options_.ignore_eos, out.mutable_sampling_params());
    return out;
  }

  const TransportOptions options_;
  const std::unique_ptr<v1::InferenceService::Stub> stub_;
  const std::string model_;
  const int vocab_size_;
  grpc::CompletionQueue queue_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Transport>> MakeGrpcTransport(const TransportOptions& options) {
  auto stub = v1::InferenceService::NewStub(OpenChannel(options.target));
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kFirstAnswerTimeout);
  v1::ListModelsResponse models;
  const grpc::Status listed = stub->ListModels(&context, {}, &models);
  if (!listed.ok() || models.models_size() == 0) {
    return absl::UnavailableError(absl::StrCat("no server at ", options.target, ": ", listed.error_message()));
  }
  v1::ModelInfo model = models.models(0);
  if (!options.model.empty()) model.set_name(options.model);
  return std::make_unique<GrpcTransport>(options, std::move(stub), model);
}

}  // namespace quire
