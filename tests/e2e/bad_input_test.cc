// Every kind of bad request gets an error that names the field, and the server and its other clients notice nothing.
#include <gmock/gmock.h>
#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>

#include <climits>
#include <cmath>
#include <functional>
#include <limits>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "tests/e2e/server_process.h"

namespace quire {
namespace {

using grpc::StatusCode;
using ::testing::HasSubstr;

struct BadRequest {
  std::string what;
  std::function<void(v1::GenerateRequest&)> spoil;
  std::string field;  // What the message must name.
  StatusCode code = StatusCode::INVALID_ARGUMENT;
};

std::vector<BadRequest> BadRequests() {
  const auto sampling = [](auto set) {
    return [set](v1::GenerateRequest& request) { set(*request.mutable_sampling_params()); };
  };
  using S = v1::SamplingParams;
  const float nan = std::nanf(""), infinity = std::numeric_limits<float>::infinity();
  return {
      {"no prompt", [](v1::GenerateRequest& r) { r.clear_prompt(); }, "prompt"},
      {"empty text", [](v1::GenerateRequest& r) { r.set_text(""); }, "prompt"},
      {"no token ids", [](v1::GenerateRequest& r) { r.mutable_token_ids(); }, "token_ids"},
      {"negative token id", [](v1::GenerateRequest& r) { r.mutable_token_ids()->add_ids(-1); }, "token_ids"},
      {"token id = vocabulary", [](v1::GenerateRequest& r) { r.mutable_token_ids()->add_ids(49152); }, "token_ids"},
      {"largest token id", [](v1::GenerateRequest& r) { r.mutable_token_ids()->add_ids(INT_MAX); }, "token_ids"},
      {"too many tokens",
       [](v1::GenerateRequest& r) {
         for (int i = 0; i < 100000; ++i) r.mutable_token_ids()->add_ids(1000);
       },
       "prompt"},
      {"unknown model", [](v1::GenerateRequest& r) { r.set_model("gpt-17"); }, "model", StatusCode::NOT_FOUND},
      {"negative temperature", sampling([](S& s) { s.set_temperature(-1); }), "temperature"},
      {"temperature NaN", sampling([nan](S& s) { s.set_temperature(nan); }), "temperature"},
      {"temperature infinite", sampling([infinity](S& s) { s.set_temperature(infinity); }), "temperature"},
      {"top_p 0", sampling([](S& s) { s.set_top_p(0); }), "top_p"},
      {"top_p 1.5", sampling([](S& s) { s.set_top_p(1.5); }), "top_p"},
      {"top_k -2", sampling([](S& s) { s.set_top_k(-2); }), "top_k"},
      {"min_p 2", sampling([](S& s) { s.set_min_p(2); }), "min_p"},
      {"repetition_penalty 0", sampling([](S& s) { s.set_repetition_penalty(0); }), "repetition_penalty"},
      {"presence_penalty 3", sampling([](S& s) { s.set_presence_penalty(3); }), "presence_penalty"},
      {"frequency_penalty -3", sampling([](S& s) { s.set_frequency_penalty(-3); }), "frequency_penalty"},
      {"max_tokens 0", sampling([](S& s) { s.set_max_tokens(0); }), "max_tokens"},
      {"max_tokens -1", sampling([](S& s) { s.set_max_tokens(-1); }), "max_tokens"},
      {"max_tokens beyond the model", sampling([](S& s) { s.set_max_tokens(INT_MAX); }), "max_tokens"},
      {"min_tokens -1", sampling([](S& s) { s.set_min_tokens(-1); }), "min_tokens"},
      {"min_tokens above max_tokens", sampling([](S& s) { s.set_min_tokens(9); }), "min_tokens"},
      {"n 0", sampling([](S& s) { s.set_n(0); }), "n"},
      {"n -1", sampling([](S& s) { s.set_n(-1); }), "n"},
      {"n huge", sampling([](S& s) { s.set_n(INT_MAX); }), "n"},
      {"empty stop string", sampling([](S& s) { s.add_stop(""); }), "stop"},
      {"17 stop strings", sampling([](S& s) {
         for (int i = 0; i < 17; ++i) s.add_stop("x");
       }),
       "stop"},
      {"stop token out of range", sampling([](S& s) { s.add_stop_token_ids(49152); }), "stop_token_ids"},
      {"negative stop token", sampling([](S& s) { s.add_stop_token_ids(-5); }), "stop_token_ids"},
      {"logit_bias of no token", sampling([](S& s) { (*s.mutable_logit_bias())[INT_MAX] = 1; }), "logit_bias"},
      {"logit_bias 101", sampling([](S& s) { (*s.mutable_logit_bias())[5] = 101; }), "logit_bias"},
      {"logit_bias NaN", sampling([nan](S& s) { (*s.mutable_logit_bias())[5] = nan; }), "logit_bias"},
      {"logprobs -1", sampling([](S& s) { s.set_logprobs(-1); }), "logprobs"},
      {"logprobs 21", sampling([](S& s) { s.set_logprobs(21); }), "logprobs"},
      {"prompt_logprobs 1000", sampling([](S& s) { s.set_prompt_logprobs(1000); }), "prompt_logprobs"},
  };
}

// The field that the error's details name.
std::string ViolatedField(const grpc::Status& status) {
  google::rpc::Status details;
  if (!details.ParseFromString(status.error_details())) return "";
  for (const auto& detail : details.details()) {
    google::rpc::BadRequest bad;
    if (detail.UnpackTo(&bad) && bad.field_violations_size() > 0) return bad.field_violations(0).field();
  }
  return "";
}

// Of the error's ErrorInfo.
std::string Reason(const grpc::Status& status) {
  google::rpc::Status details;
  google::rpc::ErrorInfo info;
  if (!details.ParseFromString(status.error_details())) return "";
  for (const auto& detail : details.details()) {
    if (detail.UnpackTo(&info)) return info.reason();
  }
  return "";
}

TEST(BadInput, EveryBadFieldIsNamedAndTheNeighboursStreamIsUntouched) {
  ServerProcess server;
  const v1::GenerateRequest good = GreedyRequest("The quick brown fox", 8);
  const std::vector<int32_t> expected = Generate(server.inference(), good).token_ids;
  ASSERT_EQ(expected.size(), 8u);

  v1::GenerateRequest neighbour_request = GreedyRequest("Tell me a story about a dragon.", 200);
  neighbour_request.mutable_sampling_params()->set_ignore_eos(true);
  const Completion alone = Generate(server.inference(), neighbour_request);
  grpc::ClientContext context;
  auto neighbour = server.inference().Generate(&context, neighbour_request);

  for (const BadRequest& bad : BadRequests()) {
    SCOPED_TRACE(bad.what);
    v1::GenerateRequest request = good;
    bad.spoil(request);
    const Completion completion = Generate(server.inference(), request);
    EXPECT_EQ(completion.status.error_code(), bad.code) << completion.status.error_message();
    EXPECT_THAT(completion.status.error_message(), HasSubstr(bad.field));
    if (bad.code == StatusCode::INVALID_ARGUMENT) {
      EXPECT_THAT(ViolatedField(completion.status), HasSubstr(bad.field));
    }
    EXPECT_NE(Reason(completion.status), "");
    EXPECT_TRUE(completion.token_ids.empty());
  }

  std::vector<int32_t> beside;
  v1::GenerateResponse response;
  while (neighbour->Read(&response)) {
    beside.insert(beside.end(), response.token_ids().begin(), response.token_ids().end());
  }
  EXPECT_TRUE(neighbour->Finish().ok());
  EXPECT_EQ(beside, alone.token_ids);
  EXPECT_EQ(Generate(server.inference(), good).token_ids, expected);
  EXPECT_EQ(server.WaitUntilIdle().kv_pages_used(), 0);
}

TEST(BadInput, ChatWithoutMessagesOrRolesIsRefused) {
  ServerProcess server;
  v1::ChatRequest request;
  Completion completion = Chat(server.inference(), request);
  EXPECT_EQ(completion.status.error_code(), StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(completion.status.error_message(), HasSubstr("messages"));
  request.add_messages()->set_content("no role");
  completion = Chat(server.inference(), request);
  EXPECT_EQ(completion.status.error_code(), StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(completion.status.error_message(), HasSubstr("role"));
  EXPECT_TRUE(server.Alive());
}

TEST(BadInput, DetokenizeNamesTheIdThatDoesNotExist) {
  ServerProcess server;
  for (const int32_t id : {-1, 49152, INT_MAX, INT_MIN}) {
    grpc::ClientContext context;
    v1::DetokenizeRequest request;
    request.add_token_ids(1);
    request.add_token_ids(id);
    v1::DetokenizeResponse response;
    const grpc::Status status = server.inference().Detokenize(&context, request, &response);
    EXPECT_EQ(status.error_code(), StatusCode::INVALID_ARGUMENT);
    EXPECT_THAT(status.error_message(), HasSubstr("token_ids"));
    EXPECT_THAT(status.error_message(), HasSubstr(std::to_string(id)));
  }
}

TEST(BadInput, BytesThatAreNoMessageAndMethodsThatAreNoneHarmNothing) {
  ServerProcess server;
  grpc::GenericStub stub(server.NewChannel());
  const auto call = [&](const std::string& method, const std::string& bytes) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(10));
    grpc::CompletionQueue queue;
    const grpc::Slice slice(bytes);
    const grpc::ByteBuffer request(&slice, 1);
    grpc::ByteBuffer response;
    grpc::Status status;
    auto reader = stub.PrepareUnaryCall(&context, method, request, &queue);
    reader->StartCall();
    reader->Finish(&response, &status, nullptr);
    void* tag;
    bool ok;
    queue.Next(&tag, &ok);
    return status;
  };
  EXPECT_FALSE(call("/quire.v1.InferenceService/Generate", std::string(1000, '\xff')).ok());
  // Invalid UTF-8 in a string field: field 2 (text), two bytes.
  EXPECT_FALSE(call("/quire.v1.InferenceService/Generate", std::string("\x12\x02\xc3\x28", 4)).ok());
  EXPECT_FALSE(call("/quire.v1.InferenceService/Tokenize", std::string("\x0a\x02\xc3\x28", 4)).ok());
  EXPECT_EQ(call("/quire.v1.InferenceService/Nothing", "").error_code(), StatusCode::UNIMPLEMENTED);
  EXPECT_EQ(call("/no.such.Service/Probe", "").error_code(), StatusCode::UNIMPLEMENTED);
  EXPECT_FALSE(call("/quire.v1.InferenceService/Tokenize", std::string(40 << 20, 'a')).ok());
  EXPECT_TRUE(Generate(server.inference(), GreedyRequest("Hello", 4)).status.ok());
}

}  // namespace
}  // namespace quire
