// A server whose tenants have keys, and the programs that talk to it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "quire/v1/session.grpc.pb.h"
#include "tests/e2e/server_process.h"

namespace quire {
namespace {

using ::testing::HasSubstr;

class TenantsTest : public ::testing::Test {
 protected:
  TenantsTest() : path_(testing::TempDir() + "quire_tenants_test_" + std::to_string(getpid()) + ".yaml") {
    // printf %s owl | sha256sum
    std::ofstream(path_) << "tenants:\n  - name: owls\n    keys: "
                            "[10f7127b980b0b06ef157749f8a02cca1c606d22642729dcb2d24dbbf2bf30df]\n"
                            "    max_sessions: 1\n    max_leases: 1\n";
  }
  ~TenantsTest() override {
    unsetenv("QUIRE_API_KEY");
    std::filesystem::remove(path_);
  }

  const std::string path_;
};

TEST_F(TenantsTest, AreKnownByTheKeyThatProgramsBringAlong) {
  ServerProcess server({"--tenants", path_});
  for (const std::vector<std::string>& command :
       {std::vector<std::string>{"cache", "list", "--target", server.target()}, {"chat", "--target", server.target()}}) {
    SCOPED_TRACE(command[0]);
    unsetenv("QUIRE_API_KEY");
    const ProgramResult refused = RunQuire(command, "Hello\n");
    EXPECT_EQ(refused.exit_code, 1);
    EXPECT_THAT(refused.output, HasSubstr("an API key is required"));
    setenv("QUIRE_API_KEY", "owl", 1);
    const ProgramResult taken = RunQuire(command, "Hello\n");
    EXPECT_EQ(taken.exit_code, 0) << taken.output;
  }
  setenv("QUIRE_API_KEY", "owls", 1);
  EXPECT_THAT(RunQuire({"cache", "list", "--target", server.target()}).output, HasSubstr("the API key is not known"));
}

TEST_F(TenantsTest, HaveNoMoreSessionsAndLeasesThanTheirFileSays) {
  ServerProcess server({"--tenants", path_});
  const auto sessions = v1::SessionService::NewStub(server.NewChannel());
  const auto open = [&] {
    grpc::ClientContext context;
    context.AddMetadata("authorization", "Bearer owl");
    v1::Session session;
    return sessions->Open(&context, {}, &session);
  };
  EXPECT_TRUE(open().ok());
  const grpc::Status second = open();
  EXPECT_EQ(second.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(second.error_message(), HasSubstr("has 1 sessions, as many as it may have (max_sessions)"));

  setenv("QUIRE_API_KEY", "owl", 1);
  const std::string story = "Once upon a time there was an owl who kept everything that it had ever read.";
  const std::vector<std::string> pin = {"cache", "pin", story, "--target", server.target()};
  std::vector<std::string> compute = pin;
  compute.push_back("--compute");
  const ProgramResult first = RunQuire(compute);
  EXPECT_EQ(first.exit_code, 0) << first.output;
  for (const std::vector<std::string>& again : {pin, compute}) {
    const ProgramResult refused = RunQuire(again);
    EXPECT_EQ(refused.exit_code, 1);
    EXPECT_THAT(refused.output, HasSubstr("has 1 leases, as many as it may have (max_leases)"));
  }
}

}  // namespace
}  // namespace quire
