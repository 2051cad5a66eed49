// What goes beside the messages: request ids and traces, and the log that tells of each request.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/e2e/server_process.h"

namespace quire {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kTrace[] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

struct Call {
  grpc::Status status;
  std::string request_id;  // As the server tells it.
};

std::string ValueOf(const std::multimap<grpc::string_ref, grpc::string_ref>& metadata, const char* key) {
  const auto it = metadata.find(key);
  return it == metadata.end() ? "" : std::string(it->second.data(), it->second.size());
}

Call Generate(ServerProcess& server, const v1::GenerateRequest& request,
              const std::vector<std::pair<std::string, std::string>>& metadata = {}) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::minutes(1));
  for (const auto& [key, value] : metadata) context.AddMetadata(key, value);
  const auto stream = server.inference().Generate(&context, request);
  v1::GenerateResponse response;
  while (stream->Read(&response)) continue;
  Call call;
  call.status = stream->Finish();
  call.request_id = ValueOf(context.GetServerInitialMetadata(), "x-request-id");
  if (call.request_id.empty()) call.request_id = ValueOf(context.GetServerTrailingMetadata(), "x-request-id");
  return call;
}

TEST(Metadata, AnswersWithTheClientsRequestIdOrOneOfItsOwn) {
  ServerProcess server;
  v1::GenerateRequest request = GreedyRequest("Hello", 2);
  EXPECT_EQ(Generate(server, request, {{"x-request-id", "order-17"}}).request_id, "order-17");
  const std::string first = Generate(server, request).request_id, second = Generate(server, request).request_id;
  EXPECT_EQ(first.size(), 32u);
  EXPECT_NE(first, second);
  EXPECT_EQ(Generate(server, request, {{"x-request-id", "a"}, {"x-request-id", "b"}}).request_id.size(), 32u);
  EXPECT_EQ(Generate(server, request, {{"x-request-id", std::string(5000, 'x')}}).request_id.size(), 32u);
  request.set_model("gpt-17");
  const Call refused = Generate(server, request, {{"x-request-id", "order-18"}});
  EXPECT_FALSE(refused.status.ok());
  EXPECT_EQ(refused.request_id, "order-18") << "whoever is refused may ask why";
}

TEST(Metadata, EveryRequestLeavesALineInTheRequestLogAndNoWordOfItself) {
  const std::string path = testing::TempDir() + "quire_e2e_request_log_" + std::to_string(getpid());
  std::filesystem::remove(path);
  {
    ServerProcess server({"--request-log", path, "--served-model-name", "smol"});
    v1::GenerateRequest request = GreedyRequest("My password is hippopotamus, and", 6);
    request.mutable_sampling_params()->set_ignore_eos(true);
    EXPECT_TRUE(Generate(server, request, {{"x-request-id", "one"}, {"traceparent", kTrace}}).status.ok());
    EXPECT_FALSE(Generate(server, GreedyRequest("hippopotamus", 100'000), {{"x-request-id", "two"}}).status.ok());
    request.set_model("hippopotamus");
    EXPECT_FALSE(Generate(server, request, {{"x-request-id", "three"}}).status.ok());
    server.Signal(SIGTERM);
    EXPECT_EQ(server.Wait(std::chrono::seconds(30)), 0);
  }
  std::ifstream file(path);
  std::map<std::string, nlohmann::json> lines;
  for (std::string line; std::getline(file, line);) {
    EXPECT_THAT(line, Not(HasSubstr("hippopotamus")));
    const auto parsed = nlohmann::json::parse(line);
    lines[parsed["request_id"]] = parsed;
  }
  std::filesystem::remove(path);
  ASSERT_EQ(lines.size(), 3u);
  const nlohmann::json& one = lines["one"];
  EXPECT_EQ(one["traceparent"], kTrace);
  EXPECT_EQ(one["protocol"], "quire");
  EXPECT_EQ(one["model"], "smol");
  EXPECT_EQ(one["status"], "OK");
  EXPECT_EQ(one["finish_reasons"], nlohmann::json({"length"}));
  EXPECT_EQ(one["completion_tokens"], 6);
  EXPECT_GT(one["first_token_s"], 0);
  EXPECT_GE(one["latency_s"], one["first_token_s"]);
  EXPECT_EQ(lines["two"]["status"], "INVALID_ARGUMENT");
  EXPECT_EQ(lines["three"]["status"], "NOT_FOUND");
}

TEST(Metadata, ARequestLogThatCannotBeWrittenIsAnErrorOfTheCommandLine) {
  const ProgramResult result = RunQuire({"serve", QUIRE_TEST_MODEL, "--request-log", "/dev/null/log"});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.output, HasSubstr("--request-log"));
}

}  // namespace
}  // namespace quire
