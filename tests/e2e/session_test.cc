// Sessions on the real server: a conversation goes on where it was, whatever else needs pages.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "quire/v1/session.grpc.pb.h"
#include "tests/e2e/server_process.h"

namespace quire {
namespace {

using ::testing::HasSubstr;

constexpr int kPage = 32;
const std::vector<std::string> kSmallPool = {"--kv-cache-memory", "48MiB", "--max-model-len", "512", "--max-num-seqs", "8"};

std::vector<std::string> With(std::vector<std::string> flags) {
  flags.insert(flags.begin(), kSmallPool.begin(), kSmallPool.end());
  return flags;
}

// A server, and its sessions.
struct SessionServer {
  explicit SessionServer(const std::vector<std::string>& flags = kSmallPool)
      : process(flags), stub(v1::SessionService::NewStub(process.NewChannel())) {}

  template <typename Request, typename Response>
  grpc::Status Call(grpc::Status (v1::SessionService::Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                    const Request& request, Response* response) {
    grpc::ClientContext context;
    return (stub.get()->*method)(&context, request, response);
  }
  v1::Session Open() {
    v1::Session session;
    const grpc::Status status = Call(&v1::SessionService::Stub::Open, v1::OpenSessionRequest(), &session);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return session;
  }
  grpc::Status Fork(const std::string& id, v1::Session* session) {
    v1::ForkSessionRequest request;
    request.set_session_id(id);
    return Call(&v1::SessionService::Stub::Fork, request, session);
  }
  grpc::Status Close(const std::string& id) {
    v1::CloseSessionRequest request;
    request.set_session_id(id);
    v1::CloseSessionResponse response;
    return Call(&v1::SessionService::Stub::Close, request, &response);
  }
  grpc::Status Snapshot(const std::string& id, const std::string& name) {
    v1::SnapshotRequest request;
    request.set_session_id(id);
    request.set_name(name);
    v1::SnapshotResponse response;
    return Call(&v1::SessionService::Stub::Snapshot, request, &response);
  }
  grpc::Status Restore(const std::string& name, v1::Session* session) {
    v1::RestoreRequest request;
    request.set_name(name);
    return Call(&v1::SessionService::Stub::Restore, request, session);
  }
  Completion Say(const std::string& id, const std::string& text) {
    v1::ChatRequest request;
    request.set_session_id(id);
    AddMessage(request, "user", text);
    return Chat(process.inference(), Complete(request));
  }
  static void AddMessage(v1::ChatRequest& request, const std::string& role, const std::string& text) {
    v1::ChatMessage& message = *request.add_messages();
    message.set_role(role);
    message.set_content(text);
  }
  static v1::ChatRequest Complete(v1::ChatRequest request) {
    request.mutable_sampling_params()->set_temperature(0);
    request.mutable_sampling_params()->set_max_tokens(24);
    return request;
  }
  // More than the pool holds, beside what is leased.
  void NeedPages() {
    for (int i = 0; i < 6; ++i) {
      std::string text = "Report " + std::to_string(++num_reports_) + ".";
      for (int word = 0; word < 45; ++word) text += " The weather was fine and nothing happened.";
      EXPECT_TRUE(Generate(process.inference(), GreedyRequest(text, 1)).status.ok());
    }
  }

  ServerProcess process;
  std::unique_ptr<v1::SessionService::Stub> stub;
  int num_reports_ = 0;
};

const char* const kQuestions[] = {"Name a river in France.", "And one in Spain?", "Which one is longer?",
                                  "Thank you. What is the capital of Italy?"};

TEST(Sessions, NeverReprocessTheirHistoryWhoeverNeedsPages) {
  SessionServer server;
  const std::string id = server.Open().id();
  v1::ChatRequest stateless;
  int history = 0;
  for (const char* question : kQuestions) {
    const Completion answer = server.Say(id, question);
    ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
    EXPECT_GE(answer.usage.cached_tokens(), history - kPage) << question;
    EXPECT_EQ(answer.session.session_id(), id);
    EXPECT_EQ(answer.session.lease().kind(), v1::LEASE_KIND_PINNED);
    history = answer.session.history_tokens();
    // The same as a client gets that sends everything each time.
    SessionServer::AddMessage(stateless, "user", question);
    const Completion whole = Chat(server.process.inference(), SessionServer::Complete(stateless));
    EXPECT_EQ(answer.text, whole.text) << question;
    EXPECT_EQ(answer.usage.prompt_tokens(), whole.usage.prompt_tokens()) << question;
    SessionServer::AddMessage(stateless, "assistant", answer.text);
    server.NeedPages();
  }
  EXPECT_TRUE(server.Close(id).ok());
  EXPECT_EQ(server.Say(id, "Are you there?").status.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(server.process.WaitUntilIdle().leases(), 0);
}

TEST(Sessions, GoOnWithAPreferredLeaseWhereNoneCanBePinned) {
  SessionServer server(With({"--kv-max-pinned-share", "0"}));
  const std::string id = server.Open().id();
  const Completion first = server.Say(id, kQuestions[0]);
  EXPECT_EQ(first.session.lease().kind(), v1::LEASE_KIND_PREFERRED);
  server.NeedPages();
  const Completion second = server.Say(id, kQuestions[1]);
  ASSERT_TRUE(second.status.ok()) << second.status.error_message();
  EXPECT_GE(second.usage.cached_tokens(), first.session.history_tokens() - kPage) << "a lease outlives what is unleased";
}

TEST(Sessions, ForksShareTheirHistoryAndPartFromThenOn) {
  SessionServer server;
  const std::string id = server.Open().id();
  const Completion first = server.Say(id, kQuestions[0]);
  v1::Session fork;
  ASSERT_TRUE(server.Fork(id, &fork).ok());
  EXPECT_NE(fork.id(), id);
  EXPECT_EQ(fork.history_tokens(), first.session.history_tokens());
  EXPECT_EQ(fork.lease().id(), first.session.lease().id());
  ASSERT_TRUE(server.Close(id).ok());
  server.NeedPages();
  const Completion second = server.Say(fork.id(), kQuestions[1]);
  EXPECT_GE(second.usage.cached_tokens(), fork.history_tokens() - kPage);
}

TEST(Sessions, TakeOneRequestAtATimeAndForgetOneThatFails) {
  SessionServer server;
  const std::string id = server.Open().id();
  const int history = server.Say(id, kQuestions[0]).session.history_tokens();
  v1::GenerateRequest slow = GreedyRequest("Once upon a time", 300);
  slow.mutable_sampling_params()->set_ignore_eos(true);
  slow.set_session_id(id);
  grpc::ClientContext context;
  const auto stream = server.process.inference().Generate(&context, slow);
  v1::GenerateResponse response;
  ASSERT_TRUE(stream->Read(&response));
  const Completion refused = server.Say(id, kQuestions[1]);
  EXPECT_EQ(refused.status.error_code(), grpc::StatusCode::ABORTED);
  EXPECT_THAT(refused.status.error_message(), HasSubstr("fork the session"));
  context.TryCancel();
  stream->Finish();
  // The engine is done with it before the session is.
  Completion second;
  do {
    second = server.Say(id, kQuestions[1]);
  } while (second.status.error_code() == grpc::StatusCode::ABORTED);
  ASSERT_TRUE(second.status.ok()) << second.status.error_message();
  EXPECT_GE(second.usage.cached_tokens(), history - kPage);
  EXPECT_LT(second.usage.prompt_tokens(), history + 40);

  v1::GenerateRequest twice = GreedyRequest("Once", 4);
  twice.mutable_sampling_params()->set_n(2);
  twice.set_session_id(id);
  EXPECT_THAT(Generate(server.process.inference(), twice).status.error_message(),
              HasSubstr("sampling_params.n must be 1 in a session"));
}

TEST(Sessions, AreBoundedInNumberAndInTime) {
  SessionServer server(With({"--max-sessions", "2"}));
  v1::OpenSessionRequest request;
  v1::Session session;
  request.mutable_idle_timeout()->set_nanos(1'000'000);
  EXPECT_TRUE(server.Call(&v1::SessionService::Stub::Open, request, &session).ok());
  server.Open();
  // The first one has had its millisecond by now, or will have.
  grpc::Status status;
  for (int i = 0; i < 100; ++i) {
    status = server.Call(&v1::SessionService::Stub::Open, v1::OpenSessionRequest(), &session);
    if (status.ok()) break;
  }
  EXPECT_TRUE(status.ok()) << status.error_message();
  status = server.Call(&v1::SessionService::Stub::Open, v1::OpenSessionRequest(), &session);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(status.error_message(), HasSubstr("2 sessions"));
  request.mutable_idle_timeout()->set_seconds(1'000'000);
  EXPECT_THAT(server.Call(&v1::SessionService::Stub::Open, request, &session).error_message(),
              HasSubstr("idle_timeout must be"));
}

class SessionSnapshots : public ::testing::Test {
 protected:
  SessionSnapshots() : folder_(::testing::TempDir() + "quire_session_snapshots_" + std::to_string(getpid())) {
    std::filesystem::remove_all(folder_);
  }
  ~SessionSnapshots() override { std::filesystem::remove_all(folder_); }

  std::vector<std::string> Flags() const { return With({"--session-path", folder_.string()}); }
  std::filesystem::path OnlyFile() const {
    for (const auto& entry : std::filesystem::recursive_directory_iterator(folder_)) {
      if (entry.is_regular_file()) return entry.path();
    }
    return {};
  }

  const std::filesystem::path folder_;
};

TEST_F(SessionSnapshots, GoOnInAnotherServer) {
  Completion expected;
  int history = 0;
  {
    SessionServer server(Flags());
    const std::string id = server.Open().id();
    history = server.Say(id, kQuestions[0]).session.history_tokens();
    const grpc::Status status = server.Snapshot(id, "rivers");
    ASSERT_TRUE(status.ok()) << status.error_message();
    expected = server.Say(id, kQuestions[1]);
  }
  SessionServer server(Flags());
  v1::Session session;
  const grpc::Status status = server.Restore("rivers", &session);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(session.history_tokens(), history);
  const Completion answer = server.Say(session.id(), kQuestions[1]);
  EXPECT_EQ(answer.text, expected.text);
  EXPECT_EQ(answer.token_ids, expected.token_ids);
}

TEST_F(SessionSnapshots, ThatAreDamagedOrElsewhereAreRefused) {
  SessionServer server(Flags());
  const std::string id = server.Open().id();
  ASSERT_TRUE(server.Say(id, kQuestions[0]).status.ok());
  ASSERT_TRUE(server.Snapshot(id, "a").ok());
  v1::Session session;
  EXPECT_EQ(server.Restore("b", &session).error_code(), grpc::StatusCode::NOT_FOUND);
  for (const char* name : {"../a", "", ".a", "a/b", "a\n"}) {
    EXPECT_THAT(server.Snapshot(id, name).error_message(), HasSubstr("name must have")) << name;
    EXPECT_EQ(server.Restore(name, &session).error_code(), grpc::StatusCode::INVALID_ARGUMENT) << name;
  }
  std::filesystem::resize_file(OnlyFile(), std::filesystem::file_size(OnlyFile()) - 1);
  const grpc::Status torn = server.Restore("a", &session);
  EXPECT_EQ(torn.error_code(), grpc::StatusCode::DATA_LOSS);
  EXPECT_THAT(torn.error_message(), HasSubstr("torn"));
  std::ofstream(OnlyFile()) << "something else";
  EXPECT_EQ(server.Restore("a", &session).error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_TRUE(server.Snapshot(id, "a").ok()) << "a new one takes its place";
  EXPECT_TRUE(server.Restore("a", &session).ok());
}

TEST_F(SessionSnapshots, AreRefusedWhereThereIsNoPlaceForThem) {
  SessionServer server;
  const grpc::Status status = server.Snapshot(server.Open().id(), "a");
  EXPECT_EQ(status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_THAT(status.error_message(), HasSubstr("--session-path"));
}

}  // namespace
}  // namespace quire
