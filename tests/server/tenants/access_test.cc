// Nothing is answered without a key, once there are keys: neither by gRPC, whatever services are added to it, nor by
// HTTP.
#include <gmock/gmock.h>
#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "kserve/grpc_service.pb.h"
#include "quire/v1/admin.pb.h"
#include "quire/v1/cache.pb.h"
#include "quire/v1/inference.pb.h"
#include "quire/v1/session.pb.h"
#include "server/grpc/grpc_server.h"
#include "server/sha256.h"
#include "smg/vllm_engine.pb.h"
#include "tests/server/http/letters_server.h"

namespace quire {
namespace {

TenantDirectory Tenants() {
  const auto tenant = [](const std::string& name, bool admin) {
    return std::make_shared<Tenant>(
        Tenant{.name = name, .weight = 1, .limits = {.max_concurrency = 4}, .admin = admin});
  };
  return TenantDirectory::RequiringKeys({{Sha256("one"), tenant("one", false)},
                                         {Sha256("two"), tenant("two", false)},
                                         {Sha256("root"), tenant("root", true)}});
}

class AccessTest : public ::testing::Test {
 protected:
  HttpReply Send(const std::string& head, const std::string& key, const std::string& body = "") {
    HttpClient client(server_.port());
    const std::string authorization = key.empty() ? "" : absl::StrCat("Authorization: Bearer ", key, "\r\n");
    client.Send(absl::StrCat(head, " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n", authorization,
                             "Content-Length: ", body.size(), "\r\n\r\n", body));
    return client.Read();
  }
  HttpReply Complete(const std::string& key, const std::string& prompt) {
    return Send(
        "POST /v1/completions", key,
        absl::StrCat(R"({"model": "letters", "temperature": 0, "max_tokens": 4, "prompt": ")", prompt, R"("})"));
  }

  LettersServer server_{Tenants()};
};

grpc::Status Call(const std::shared_ptr<grpc::Channel>& channel, const std::string& method, const std::string& key) {
  grpc::GenericStub stub(channel);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
  if (!key.empty()) context.AddMetadata("authorization", "Bearer " + key);
  grpc::ByteBuffer request{nullptr, 0}, response;
  grpc::Slice empty("");
  request = grpc::ByteBuffer(&empty, 1);
  grpc::Status result;
  absl::Notification done;
  stub.UnaryCall(&context, method, grpc::StubOptions(), &request, &response, [&](grpc::Status status) {
    result = std::move(status);
    done.Notify();
  });
  done.WaitForNotification();
  return result;
}

std::vector<std::string> MethodsOf(const google::protobuf::FileDescriptor& file) {
  std::vector<std::string> methods;
  for (int i = 0; i < file.service_count(); ++i) {
    const auto& service = *file.service(i);
    for (int j = 0; j < service.method_count(); ++j) {
      methods.push_back(absl::StrCat("/", service.full_name(), "/", service.method(j)->name()));
    }
  }
  return methods;
}

bool IsProbe(const std::string& method) {
  for (const char* probe : {"ServerLive", "ServerReady", "ModelReady", "HealthCheck"}) {
    if (absl::EndsWith(method, absl::StrCat("/", probe))) return true;
  }
  return false;
}

TEST_F(AccessTest, AsksEveryMethodOfEveryServiceForAKey) {
  const auto grpc_server = *GrpcServer::Start("127.0.0.1", 0, server_.pipeline());
  const auto channel = grpc_server->server().InProcessChannel({});
  int num_methods = 0;
  for (const auto* file : {v1::GenerateRequest::descriptor()->file(), v1::Stats::descriptor()->file(),
                           v1::ProbeRequest::descriptor()->file(), v1::OpenSessionRequest::descriptor()->file(),
                           inference::ModelInferRequest::descriptor()->file(),
                           ::vllm::grpc::engine::GenerateRequest::descriptor()->file()}) {
    for (const std::string& method : MethodsOf(*file)) {
      ++num_methods;
      const grpc::StatusCode code = Call(channel, method, "").error_code();
      if (IsProbe(method)) {
        EXPECT_EQ(code, grpc::StatusCode::OK) << method;
      } else {
        EXPECT_THAT(code, ::testing::AnyOf(grpc::StatusCode::UNAUTHENTICATED, grpc::StatusCode::UNIMPLEMENTED))
            << method;
      }
    }
  }
  EXPECT_GE(num_methods, 35);
  EXPECT_EQ(Call(channel, "/grpc.health.v1.Health/Check", "").error_code(), grpc::StatusCode::OK);
  for (const char* method : {"/quire.v1.AdminService/GetStats", "/vllm.grpc.engine.VllmEngine/FlushCache"}) {
    EXPECT_EQ(Call(channel, method, "one").error_code(), grpc::StatusCode::PERMISSION_DENIED) << method;
    EXPECT_EQ(Call(channel, method, "root").error_code(), grpc::StatusCode::OK) << method;
  }
  EXPECT_EQ(Call(channel, "/quire.v1.InferenceService/ListModels", "one").error_code(), grpc::StatusCode::OK);
  grpc_server->Shutdown(absl::Now());
}

TEST_F(AccessTest, AsksEveryPathForAKey) {
  for (const char* path : {"/", "/v1/models", "/metrics", "/quire/stats", "/tokenizer_info", "/nowhere"}) {
    const HttpReply reply = Send(absl::StrCat("GET ", path), "");
    EXPECT_EQ(reply.status, 401) << path;
    EXPECT_THAT(reply.body, ::testing::HasSubstr("invalid_api_key"));
    EXPECT_EQ(Send(absl::StrCat("GET ", path), "three").status, 401) << path;
  }
  EXPECT_EQ(Send("POST /v1/chat/completions", "", "{}").status, 401);
  EXPECT_EQ(Send("GET /health", "").status, 200);
  EXPECT_EQ(Send("GET /version", "").status, 200);
  EXPECT_EQ(Send("GET /v1/models", "one").status, 200);
  EXPECT_EQ(Send("GET /metrics", "one").status, 403);
  EXPECT_EQ(Send("GET /metrics", "root").status, 200);
}

TEST_F(AccessTest, TakesAKeyAsAnthropicsClientsSendIt) {
  EXPECT_EQ(Send("GET /v1/models HTTP/1.1\r\nx-api-key: one\r\nX-Rest:", "").status, 200);
  EXPECT_EQ(Send("GET /v1/models HTTP/1.1\r\nx-api-key: three\r\nX-Rest:", "").status, 401);
}

TEST_F(AccessTest, FindsATenantsOwnPagesOnly) {
  const std::string prompt(64, 'a');
  const auto cached = [&](const std::string& key) {
    const HttpReply reply = Complete(key, prompt);
    EXPECT_EQ(reply.status, 200) << reply.body;
    return nlohmann::json::parse(reply.body)["usage"].value(
        nlohmann::json::json_pointer("/prompt_tokens_details/cached_tokens"), 0);
  };
  EXPECT_EQ(cached("one"), 0);
  EXPECT_GT(cached("one"), 32);
  EXPECT_EQ(cached("two"), 0) << "what another tenant has computed";
}

TEST_F(AccessTest, TellsAdministratorsWhatEachTenantHad) {
  ASSERT_EQ(Complete("one", "abc").status, 200);
  const auto stats = nlohmann::json::parse(Send("GET /quire/stats", "root").body);
  ASSERT_EQ(stats["tenants"].size(), 1u);
  EXPECT_EQ(stats["tenants"][0]["tenant"], "one");
  EXPECT_EQ(stats["tenants"][0]["completion_tokens_total"], 4);
  EXPECT_THAT(Send("GET /metrics", "root").body,
              ::testing::HasSubstr("quire_tenant_completion_tokens_total{tenant=\"one\"} 4"));
}

}  // namespace
}  // namespace quire
