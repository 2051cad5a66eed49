// The program as a person at a shell meets it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/e2e/server_process.h"

namespace quire {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(CommandLine, VersionAndHelpSayWhatThisIs) {
  EXPECT_THAT(RunQuire({"version"}).output, HasSubstr("quire"));
  const ProgramResult help = RunQuire({"--help"});
  EXPECT_EQ(help.exit_code, 0);
  for (const char* command : {"serve", "chat", "bench", "plan", "version"})
    EXPECT_THAT(help.output, HasSubstr(command));
  EXPECT_THAT(RunQuire({"serve", "--help"}).output,
              AllOf(HasSubstr("--kv-cache-memory"), HasSubstr("--max-num-seqs"), HasSubstr("--block-size")));
}

TEST(CommandLine, AWrongFlagIsNamedAndEndsWithFailure) {
  const std::string model = QUIRE_TEST_MODEL;
  const std::vector<std::pair<std::vector<std::string>, std::string>> wrong = {
      {{"serve"}, "MODEL"},
      {{"serve", "no-such-file.gguf"}, "no-such-file.gguf"},
      {{"serve", model, "--port", "70000"}, "--port"},
      {{"serve", model, "--block-size", "17"}, "--block-size"},
      {{"serve", model, "--kv-cache-memory", "lots"}, "--kv-cache-memory"},
      {{"serve", model, "--kv-cache-memory", "1KiB"}, "--kv-cache-memory"},
      {{"serve", model, "--max-model-len", "1000000"}, "--max-model-len"},
      {{"serve", model, "--max-num-seqs", "0"}, "--max-num-seqs"},
      {{"serve", model, "--log-level", "loud"}, "--log-level"},
      {{"serve", model, "--instruction-set", "mmx"}, "instruction"},
      {{"serve", model, "--device", "cpu", "--quantization", "fp8"}, "--quantization"},
      {{"serve", model, "--no-such-flag"}, "--no-such-flag"},
      {{"plan", "no-such-file.gguf"}, "no-such-file.gguf"},
      {{"bench", "--model", "no-such-file.gguf"}, "no-such-file.gguf"},
      {{"bench", "--target", "127.0.0.1:1"}, "127.0.0.1:1"},
      {{"bench", "--input-len", "8,16"}, "--input-len"},
      {{"frobnicate"}, "subcommand"},
  };
  for (const auto& [arguments, named] : wrong) {
    const ProgramResult result = RunQuire(arguments);
    EXPECT_NE(result.exit_code, 0) << named;
    EXPECT_LT(result.exit_code, 128) << "ended by a signal";
    EXPECT_THAT(result.output, HasSubstr(named));
  }
}

TEST(CommandLine, AFileThatIsNoModelIsRefused) {
  const std::string path = ::testing::TempDir() + "/not-a-model.gguf";
  std::ofstream(path) << "GGUF but then nothing of the kind";
  const ProgramResult result = RunQuire({"serve", path});
  EXPECT_NE(result.exit_code, 0);
  EXPECT_LT(result.exit_code, 128);
  EXPECT_THAT(result.output, HasSubstr(path));
}

TEST(CommandLine, TheSecondServerOnAPortSaysThatItIsTaken) {
  ServerProcess server;
  const std::string port = server.target().substr(server.target().find(':') + 1);
  const ProgramResult second = RunQuire({"serve", QUIRE_TEST_MODEL, "--port", port});
  EXPECT_NE(second.exit_code, 0);
  EXPECT_THAT(second.output, HasSubstr(port));
}

TEST(CommandLine, ChatAnswersEachLineAndRemembersTheLastOnes) {
  ServerProcess server;
  const ProgramResult chat = RunQuire({"chat", "--target", server.target(), "--temperature", "0", "--max-tokens", "60"},
                                      "What is the capital of France?\nAnd what is the capital of Italy?\n");
  EXPECT_EQ(chat.exit_code, 0) << chat.output;
  EXPECT_THAT(chat.output, AllOf(HasSubstr("Paris"), HasSubstr("Rome")));
}

TEST(CommandLine, ChatWithoutAServerSaysHowToStartOne) {
  const ProgramResult chat = RunQuire({"chat", "--target", "127.0.0.1:1"}, "Hello\n");
  EXPECT_EQ(chat.exit_code, 1);
  EXPECT_THAT(chat.output, HasSubstr("make serve"));
}

TEST(CommandLine, PlanAgreesWithWhatTheServerAllocates) {
  const ProgramResult plan =
      RunQuire({"plan", QUIRE_TEST_MODEL, "--context", "1024", "--concurrency", "8", "--block-size", "32", "--json"});
  ASSERT_EQ(plan.exit_code, 0) << plan.output;
  const auto numbers = nlohmann::json::parse(plan.output);
  // 2 x 30 layers x 3 heads x 64 x 2 bytes.
  EXPECT_EQ(numbers["kv_bytes_per_token"], 23040);
  EXPECT_EQ(numbers["pages"], 8 * 1024 / 32);
  EXPECT_EQ(numbers["kv_bytes"], 8 * 1024 * 23040);
  ServerProcess server({"--kv-cache-memory", std::to_string(numbers["kv_bytes"].get<int64_t>()), "--block-size", "32",
                        "--max-model-len", "1024"});
  EXPECT_EQ(server.Stats().kv_pages_total(), numbers["pages"].get<int64_t>());
}

TEST(CommandLine, BenchReportsThroughputAndLatencies) {
  const ProgramResult offline = RunQuire({"bench", "--model", QUIRE_TEST_MODEL, "--batch-sizes", "1,3", "--input-len",
                                          "16,24", "--output-len", "4", "--json"});
  ASSERT_EQ(offline.exit_code, 0) << offline.output;
  const auto throughput = nlohmann::json::parse(offline.output)["throughput"];
  ASSERT_EQ(throughput.size(), 4u);
  EXPECT_EQ(throughput[1]["input_tokens"], 16);
  EXPECT_EQ(throughput[2]["input_tokens"], 24);
  EXPECT_EQ(throughput[1]["output_tokens"], 4);
  EXPECT_EQ(throughput[1]["batch_size"], 3);
  EXPECT_GT(throughput[1]["prefill_tokens_per_second"], 0.0);

  ServerProcess server;
  const ProgramResult online = RunQuire({"bench", "--target", server.target(), "--clients", "3", "--requests", "2",
                                         "--shared-prefix", "64", "--input-len", "8", "--output-len", "4", "--json"});
  ASSERT_EQ(online.exit_code, 0) << online.output;
  const auto load = nlohmann::json::parse(online.output)["load"];
  EXPECT_EQ(load["completed"], 6);
  EXPECT_EQ(load["total_output_tokens"], 24);
  EXPECT_EQ(load["total_input_tokens"], 6 * 72);
  // The prefix is computed once: by whoever comes first, the others wait for it.
  EXPECT_GE(load["total_cached_tokens"], 5 * 64);
  EXPECT_GT(load["p99_ttft_ms"], 0.0);
}

}  // namespace
}  // namespace quire
