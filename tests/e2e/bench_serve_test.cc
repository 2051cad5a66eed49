// `quire bench serve` against the real server.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/e2e/server_process.h"

namespace quire {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

class BenchServe : public ::testing::Test {
 protected:
  ProgramResult Bench(std::vector<std::string> arguments) {
    std::vector<std::string> command = {"bench", "serve", "--target", server_.target(), "--json"};
    command.insert(command.end(), arguments.begin(), arguments.end());
    return RunQuire(command);
  }

  json Measure(const std::vector<std::string>& arguments) {
    const ProgramResult result = Bench(arguments);
    EXPECT_EQ(result.exit_code, 0) << result.output;
    return json::parse(result.output);
  }

  std::string WriteFile(const std::string& name, const std::string& contents) {
    const std::string path = ::testing::TempDir() + "/" + name;
    std::ofstream(path) << contents;
    return path;
  }

  ServerProcess server_{{"--max-model-len", "1024"}};
};

TEST_F(BenchServe, CountsEveryTokenOfAClosedLoop) {
  const std::string html = ::testing::TempDir() + "/load.html";
  const std::string saved = ::testing::TempDir() + "/load.json";
  const json load =
      Measure({"--num-prompts", "8", "--max-concurrency", "4", "--input-len", "8", "--output-len", "6", "--warmup", "1",
               "--goodput", "ttft:60000", "tpot:60000", "--html", html, "--save-result", saved, "--save-detailed"});
  EXPECT_EQ(load["completed"], 8);
  EXPECT_EQ(load["total_input_tokens"], 64);
  EXPECT_EQ(load["total_output_tokens"], 48);
  EXPECT_EQ(load["max_concurrent_requests"], 4);
  EXPECT_EQ(load["request_goodput"], load["request_throughput"]);
  EXPECT_GT(load["p99_itl_ms"].get<double>(), 0.0);
  EXPECT_GT(std::filesystem::file_size(html), 5000u);
  EXPECT_EQ(json::parse(std::ifstream(saved))["itls"].size(), 8u);
}

TEST_F(BenchServe, TalksInTurnsWhoseHistoryIsCached) {
  const json load = Measure({"--endpoint", "chat", "--num-prompts", "2", "--turns", "3", "--input-len", "40",
                             "--output-len", "8", "--request-rate", "50"});
  EXPECT_EQ(load["num_prompts"], 6);
  EXPECT_EQ(load["completed"], 6);
  EXPECT_GT(load["total_cached_tokens"].get<int>(), 2 * 2 * 32);
  // Token ids grow as well: 16, then 16 + 8 + 16.
  EXPECT_EQ(
      Measure({"--num-prompts", "2", "--turns", "2", "--input-len", "16", "--output-len", "8"})["total_input_tokens"],
      2 * (16 + 40));
}

TEST_F(BenchServe, PlaysATraceWithItsSharedBlocks) {
  std::string trace;
  for (int i = 0; i < 6; ++i) {
    const json line = {
        {"timestamp", i * 100}, {"input_length", 1536}, {"output_length", 16}, {"hash_ids", {1, 2, 100 + i}}};
    trace += line.dump() + "\n";
  }
  const json load = Measure({"--dataset-name", "mooncake", "--dataset-path", WriteFile("trace.jsonl", trace),
                             "--length-scale", "0.25", "--trace-speed", "2"});
  EXPECT_EQ(load["completed"], 6);
  EXPECT_EQ(load["total_input_tokens"], 6 * 384);
  EXPECT_EQ(load["total_output_tokens"], 6 * 4);
  EXPECT_GE(load["total_cached_tokens"].get<int>(), 5 * 256);
  EXPECT_GE(load["duration"].get<double>(), 0.25);
}

TEST_F(BenchServe, ReportsWhatTheServerRefused) {
  const ProgramResult result = Bench({"--num-prompts", "3", "--input-len", "2000", "--output-len", "4"});
  EXPECT_EQ(result.exit_code, 1);
  const json load = json::parse(result.output);
  EXPECT_EQ(load["failed"], 3);
  EXPECT_EQ(load["errors_by_kind"]["INVALID_ARGUMENT"], 3);
  EXPECT_THAT(load["first_error"].get<std::string>(), HasSubstr("got 2000"));
}

TEST_F(BenchServe, NamesTheFlagThatIsWrong) {
  const std::vector<std::pair<std::vector<std::string>, std::string>> wrong = {
      {{"--input-len", "0"}, "--input-len"},
      {{"--output-len", "9:3"}, "--output-len"},
      {{"--goodput", "speed:5"}, "--goodput"},
      {{"--dataset-name", "mooncake"}, "--dataset-path"},
      {{"--dataset-path", "x"}, "--dataset-path"},
      {{"--endpoint", "images"}, "--endpoint"},
      {{"--endpoint", "chat", "--prompt-form", "tokens"}, "--prompt-form"},
      {{"--ramp-up-strategy", "linear"}, "--request-rate"},
      {{"--url", "http://127.0.0.1:1"}, "--url"},
      {{"--header", "no colon"}, "--header"},
      {{"--html", "/no/such/folder/x.html", "--num-prompts", "1", "--output-len", "1"}, "--html"},
  };
  for (const auto& [arguments, named] : wrong) {
    const ProgramResult result = Bench(arguments);
    EXPECT_NE(result.exit_code, 0) << named;
    EXPECT_THAT(result.output, HasSubstr(named));
  }
  EXPECT_THAT(RunQuire({"bench", "serve", "--url", "http://127.0.0.1:1"}).output, HasSubstr("http://127.0.0.1:1"));
}

}  // namespace
}  // namespace quire
