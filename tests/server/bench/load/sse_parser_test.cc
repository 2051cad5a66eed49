#include "server/bench/load/sse_parser.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

namespace quire {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<std::string> Parse(const std::string& bytes, size_t piece) {
  SseParser parser;
  std::vector<std::string> events;
  for (size_t at = 0; at < bytes.size(); at += piece) {
    EXPECT_TRUE(
        parser
            .Push(std::string_view(bytes).substr(at, piece), [&](std::string_view data) { events.emplace_back(data); })
            .ok());
  }
  return events;
}

TEST(SseParser, GivesTheSameEventsHoweverTheBytesAreCut) {
  const std::string stream =
      ": a comment\n\nevent: x\ndata: one\n\ndata:two\r\n\r\ndata: three\rdata: lines\r\r\n"
      "data\ndata: \n\nid: 7\n\ndata: [DONE]\n\ndata: never ended\n";
  for (const size_t piece : {1, 2, 3, 7, 1000}) {
    EXPECT_THAT(Parse(stream, piece), ElementsAre("one", "two", "three\nlines", "\n", "[DONE]")) << piece;
  }
}

TEST(SseParser, KeepsNoMoreThanItsLimit) {
  SseParser parser;
  const std::string line = "data: " + std::string(1 << 20, 'x') + "\n";
  absl::Status status;
  int events = 0;
  for (int i = 0; i < 20 && status.ok(); ++i) status = parser.Push(line, [&](std::string_view) { ++events; });
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(events, 0);
}

TEST(SseParser, HearsNothingInAnEmptyStream) { EXPECT_THAT(Parse("", 1), IsEmpty()); }

}  // namespace
}  // namespace quire
