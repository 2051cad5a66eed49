// The service in a real gRPC server over the real threads and a fake model. What clients see of the rest is tested with
// the gateway, in tests/clients.
#include "server/grpc/vllm/vllm_service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/time/clock.h"
#include "server/grpc/grpc_server.h"
#include "tests/fakes/fake_model_runner.h"
#include "tests/server/letter_tokenizer.h"

namespace quire {
namespace {

namespace pb = ::vllm::grpc::engine;
namespace common = ::smg::grpc::common;

class VllmServiceTest : public ::testing::Test {
 protected:
  VllmServiceTest() {
    EngineOptions options;
    options.max_model_len = 256;
    options.max_num_seqs = 4;
    options.vocab_size = LetterTokenizer::kVocabSize;
    options.eos_token_ids = {LetterTokenizer::kEnd};
    options.blocks = {.num_blocks = 64, .block_size = 16};
    runner_ = std::make_unique<FakeModelRunner>(model_, options.blocks.num_blocks, options.blocks.block_size);
    engine_ = std::make_unique<Engine>(options, *runner_);
    ServedModel served;
    served.name = "letters";
    served.max_model_len = options.max_model_len;
    served.block_size = options.blocks.block_size;
    served.path = "/nowhere/letters.gguf";
    served.tokenizer = &tokenizer_;
    pipeline_ = std::make_unique<ServingPipeline>(served, *engine_, 8, [] {});
    server_ = *GrpcServer::Start("127.0.0.1", 0, *pipeline_);
    stub_ = pb::VllmEngine::NewStub(server_->server().InProcessChannel({}));
  }
  ~VllmServiceTest() override { server_->Shutdown(absl::Now()); }

  // A subscription and what it needs to live.
  struct Subscription {
    Subscription(pb::VllmEngine::Stub& stub, uint64_t start) {
      common::SubscribeKvEventsRequest request;
      request.set_start_sequence_number(start);
      stream = stub.SubscribeKvEvents(&context, request);
    }
    ~Subscription() {
      context.TryCancel();
      if (!ended) (void)End();
    }
    // The status that the stream ends with, once everything before was read.
    grpc::Status End() {
      while (stream->Read(&batch)) {
      }
      ended = true;
      return stream->Finish();
    }

    bool ended = false;
    grpc::ClientContext context;
    std::unique_ptr<grpc::ClientReader<common::KvEventBatch>> stream;
    common::KvEventBatch batch;
  };

  void Generate(const std::string& text) {
    grpc::ClientContext context;
    pb::GenerateRequest request;
    request.set_text(text);
    request.mutable_sampling_params()->set_max_tokens(1);
    const auto stream = stub_->Generate(&context, request);
    pb::GenerateResponse response;
    while (stream->Read(&response)) {
    }
    EXPECT_TRUE(stream->Finish().ok());
  }

  LetterTokenizer tokenizer_;
  FakeModel model_{LetterTokenizer::kVocabSize, {LetterTokenizer::kEnd}};
  std::unique_ptr<FakeModelRunner> runner_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<ServingPipeline> pipeline_;
  std::unique_ptr<GrpcServer> server_;
  std::unique_ptr<pb::VllmEngine::Stub> stub_;
};

TEST_F(VllmServiceTest, IsNotHealthyOnceTheServerDrains) {
  const auto check = [this] {
    grpc::ClientContext context;
    pb::HealthCheckResponse response;
    EXPECT_TRUE(stub_->HealthCheck(&context, {}, &response).ok());
    return response.healthy();
  };
  EXPECT_TRUE(check());
  pipeline_->StopAdmitting();
  EXPECT_FALSE(check());
}

TEST_F(VllmServiceTest, SaysThatTheModelFileIsGoneWhereItWouldGiveItsTokenizerOut) {
  grpc::ClientContext context;
  const auto stream = stub_->GetTokenizer(&context, {});
  common::GetTokenizerChunk chunk;
  EXPECT_FALSE(stream->Read(&chunk));
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::FAILED_PRECONDITION);
}

TEST_F(VllmServiceTest, TellsASubscriberThatDoesNotReadThatItHasMissedSomething) {
  Subscription subscription(*stub_, 0);
  ASSERT_TRUE(subscription.stream->Read(&subscription.batch));
  EXPECT_TRUE(subscription.batch.has_snapshot());
  // More than is kept, and than the transport takes on for a reader.
  for (size_t bytes = 0; bytes < 2 * KvEvents::kMaxBytes; bytes += 1 << 20) {
    std::vector<PageEvent> events(1 << 10, {.kind = PageEvent::Kind::kStored, .tokens = std::vector<TokenId>(256)});
    pipeline_->kv_events().Append(std::move(events), absl::Now());
  }
  const grpc::StatusCode code = subscription.End().error_code();
  EXPECT_TRUE(code == grpc::StatusCode::DATA_LOSS || code == grpc::StatusCode::CANCELLED) << code;
  Generate("others are served");
}

TEST_F(VllmServiceTest, RefusesMoreSubscribersThanItAllows) {
  std::vector<std::unique_ptr<Subscription>> subscriptions;
  for (size_t i = 0; i < KvEvents::kMaxReaders; ++i) {
    subscriptions.push_back(std::make_unique<Subscription>(*stub_, 0));
    ASSERT_TRUE(subscriptions.back()->stream->Read(&subscriptions.back()->batch));
  }
  Subscription another(*stub_, 0);
  EXPECT_EQ(another.End().error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
}

TEST_F(VllmServiceTest, EndsSubscriptionsWithTheServer) {
  Subscription subscription(*stub_, 0);
  ASSERT_TRUE(subscription.stream->Read(&subscription.batch));
  server_->Shutdown(absl::Now());
  EXPECT_FALSE(subscription.End().ok());
}

}  // namespace
}  // namespace quire
