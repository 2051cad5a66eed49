// KV pages in a file: what a server has computed is there for the next one, even if it was killed.
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "absl/strings/str_cat.h"
#include "tests/e2e/server_process.h"

namespace quire {
namespace {

class KvTiersTest : public testing::Test {
 protected:
  KvTiersTest() : path_(testing::TempDir() + "quire_kv_tiers_test." + std::to_string(getpid())) {
    std::filesystem::remove(path_);
  }
  ~KvTiersTest() override { std::filesystem::remove(path_); }

  std::vector<std::string> Flags() const { return {"--kv-disk-path", path_, "--kv-disk-size", "256MiB"}; }

  const std::string path_;
};

// Some hundred tokens of their own for each `topic`.
v1::GenerateRequest LongPrompt(int topic, int max_tokens = 24) {
  std::string text;
  for (int i = 0; i < 60; ++i) text += absl::StrCat("On day ", i, " of journey ", topic, " we saw a harbour. ");
  return GreedyRequest(text, max_tokens);
}

TEST_F(KvTiersTest, AnotherServerGoesOnWithTheFile) {
  Completion first;
  {
    ServerProcess server(Flags());
    first = Generate(server.inference(), LongPrompt(1));
    EXPECT_EQ(first.usage.cached_tokens(), 0);
    server.Signal(SIGTERM);
    EXPECT_EQ(server.Wait(std::chrono::seconds(20)), 0);
  }
  ServerProcess server(Flags());
  const Completion second = Generate(server.inference(), LongPrompt(1));
  EXPECT_EQ(second.token_ids, first.token_ids);
  EXPECT_GT(second.usage.cached_tokens_disk(), 500);
  EXPECT_EQ(second.usage.cached_tokens_disk(), second.usage.cached_tokens());
  EXPECT_GT(server.Stats().kv_disk().pages_read_total(), 15u);
}

TEST_F(KvTiersTest, AServerKilledInTrafficLeavesNothingWrong) {
  std::vector<std::vector<int32_t>> expected;
  {
    ServerProcess plain;
    for (int topic = 0; topic < 3; ++topic) expected.push_back(Generate(plain.inference(), LongPrompt(topic)).token_ids);
  }
  for (int kill_after_ms : {150, 400, 900, 1600}) {
    ServerProcess server(Flags());
    std::vector<std::thread> clients;
    for (int topic = 0; topic < 3; ++topic) {
      clients.emplace_back([&, topic] { Generate(server.inference(), LongPrompt(topic)); });
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(kill_after_ms));
    server.Signal(SIGKILL);
    server.Wait(std::chrono::seconds(5));
    for (std::thread& client : clients) client.join();
  }
  ServerProcess server(Flags());
  for (int topic = 0; topic < 3; ++topic) {
    const Completion completion = Generate(server.inference(), LongPrompt(topic));
    EXPECT_EQ(completion.token_ids, expected[topic]) << "topic " << topic;
  }
  EXPECT_GT(server.Stats().kv_disk().pages_read_total(), 0u);
  EXPECT_EQ(server.Stats().kv_pages_used(), 0);
}

TEST_F(KvTiersTest, AFileThatCannotBeUsedIsRefusedAtTheStart) {
  std::ofstream(path_) << std::string(5000, '?');
  const std::vector<std::string> serve = {"serve",      QUIRE_TEST_MODEL, "--port", std::to_string(FreePort()),
                                          "--http-port", "-1",             "--kv-disk-path", path_};
  const ProgramResult refused = RunQuire(serve);
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_NE(refused.output.find("holds no KV pages; --kv-disk-recreate makes it anew"), std::string::npos)
      << refused.output;
  EXPECT_EQ(std::filesystem::file_size(path_), 5000u);

  std::vector<std::string> flags = Flags();
  flags.push_back("--kv-disk-recreate");
  ServerProcess server(flags);
  EXPECT_TRUE(server.Alive());
  const ProgramResult locked = RunQuire(serve);
  EXPECT_EQ(locked.exit_code, 1);
  EXPECT_NE(locked.output.find("is in use by another server"), std::string::npos) << locked.output;
}

TEST_F(KvTiersTest, ThePagesOfAHostTierComeBackWhenThePoolIsTooSmall) {
  // Room for one of the prompts at a time.
  ServerProcess server({"--kv-cache-memory", "24MiB", "--max-model-len", "1024", "--kv-host-memory", "128MiB"});
  const Completion first = Generate(server.inference(), LongPrompt(1));
  Generate(server.inference(), LongPrompt(2));
  const Completion again = Generate(server.inference(), LongPrompt(1));
  EXPECT_EQ(again.token_ids, first.token_ids);
  EXPECT_GT(again.usage.cached_tokens_host(), 0);
}

}  // namespace
}  // namespace quire
