// A server whose tenants have keys, and the programs that talk to it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "tests/e2e/server_process.h"

namespace quire {
namespace {

using ::testing::HasSubstr;

class TenantsTest : public ::testing::Test {
 protected:
  TenantsTest() : path_(testing::TempDir() + "quire_tenants_test_" + std::to_string(getpid()) + ".yaml") {
    // printf %s owl | sha256sum
    std::ofstream(path_) << "tenants:\n  - name: owls\n    keys: "
                            "[10f7127b980b0b06ef157749f8a02cca1c606d22642729dcb2d24dbbf2bf30df]\n";
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

}  // namespace
}  // namespace quire
