#include "server/request_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

namespace quire {
namespace {

using ::testing::HasSubstr;

const absl::Time kNow = absl::FromUnixMillis(1'800'000'000'123);

RequestRecord SomeRecord() {
  RequestRecord record;
  record.origin.request_id = "mine";
  record.origin.traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  record.num_samples = 2;
  record.max_tokens = 9;
  record.finish_reasons = {FinishReason::kStop, FinishReason::kNone};
  record.usage = {.prompt_tokens = 12, .cached_tokens = 8, .completion_tokens = 5};
  record.timings = {absl::Milliseconds(1), absl::Milliseconds(20), absl::Milliseconds(300)};
  record.first_token = absl::Milliseconds(22);
  record.latency = absl::Milliseconds(325);
  return record;
}

std::string ReadFile(const std::string& path) {
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& name)
      : path_(testing::TempDir() + "quire_" + name + "_" + std::to_string(getpid())) {
    std::filesystem::remove(path_);
  }
  ~TemporaryFile() { std::filesystem::remove(path_); }
  const std::string& path() const { return path_; }

 private:
  const std::string path_;
};

TEST(RequestLog, TellsIdsCountsTimesAndHowItEnded) {
  EXPECT_EQ(RequestLogLine(SomeRecord(), "smol", kNow),
            R"({"time":"2027-01-15T08:00:00.123Z","request_id":"mine",)"
            R"("traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01","protocol":"quire",)"
            R"("model":"smol","status":"OK","finish_reasons":["stop",null],"n":2,"max_tokens":9,"prompt_tokens":12,)"
            R"("cached_tokens":8,"completion_tokens":5,"queue_s":0.001,"prefill_s":0.02,"decode_s":0.3,)"
            R"("first_token_s":0.022,"latency_s":0.325})");
}

TEST(RequestLog, LeavesOutWhatThereIsNot) {
  RequestRecord record = SomeRecord();
  record.origin.traceparent.clear();
  record.max_tokens = 0;
  record.first_token.reset();
  record.status = absl::StatusCode::kResourceExhausted;
  const auto line = nlohmann::json::parse(RequestLogLine(record, "smol", kNow));
  EXPECT_FALSE(line.contains("traceparent"));
  EXPECT_FALSE(line.contains("max_tokens"));
  EXPECT_FALSE(line.contains("first_token_s"));
  EXPECT_EQ(line["status"], "RESOURCE_EXHAUSTED");
}

TEST(RequestLog, TellsOfWhichTierWhatWasCached) {
  RequestRecord record = SomeRecord();
  record.usage.cached_tokens_disk = 4;
  auto line = nlohmann::json::parse(RequestLogLine(record, "smol", kNow));
  EXPECT_EQ(line["cached_tokens"], 8);
  EXPECT_EQ(line["cached_tokens_disk"], 4);
  EXPECT_FALSE(line.contains("cached_tokens_host"));
  record.usage.cached_tokens_host = 3;
  line = nlohmann::json::parse(RequestLogLine(record, "smol", kNow));
  EXPECT_EQ(line["cached_tokens_host"], 3);
}

TEST(RequestLog, IsJsonWhateverTheModelIsCalled) {
  const std::string name = "a\"b\\c\n\xFF";
  const auto line = nlohmann::json::parse(RequestLogLine(SomeRecord(), name, kNow));
  EXPECT_EQ(line["model"], "a\"b\\c\n\xEF\xBF\xBD");
}

TEST(RequestLog, AppendsALineForEachRequest) {
  const TemporaryFile file("request_log");
  for (int i = 0; i < 2; ++i) {
    auto log = RequestLog::Open(file.path(), "smol");
    ASSERT_TRUE(log.ok()) << log.status();
    for (int line = 0; line < 100; ++line) (*log)->Write(SomeRecord(), kNow);
  }
  std::string expected;
  for (int i = 0; i < 200; ++i) expected += RequestLogLine(SomeRecord(), "smol", kNow) + "\n";
  EXPECT_EQ(ReadFile(file.path()), expected);
}

TEST(RequestLog, SaysWhyAFileCannotBeWritten) {
  const TemporaryFile file("not_a_folder");
  std::ofstream(file.path()) << "x";
  const absl::Status status = RequestLog::Open(file.path() + "/log", "smol").status();
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("--request-log"));
}

}  // namespace
}  // namespace quire
