#include "server/stream_thread.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>

#include "absl/time/clock.h"
#include "tests/server/letter_tokenizer.h"

namespace quire {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;

class RecordingSink : public ResponseSink {
 public:
  void Deliver(ResponseDelta delta) override { deltas.push_back(std::move(delta)); }
  std::vector<ResponseDelta> deltas;
};

SequenceOutput Output(std::vector<TokenId> tokens, FinishReason reason = FinishReason::kNone, int index = 0) {
  SequenceOutput output;
  output.request = 7;
  output.index = index;
  output.tokens = std::move(tokens);
  output.finish_reason = reason;
  return output;
}

SequenceOutput Last(SequenceOutput output) {
  output.last = true;
  output.usage = {.prompt_tokens = 3, .cached_tokens = 2, .completion_tokens = 99};
  return output;
}

// Runs a request's outputs through a stream thread of its own.
struct StreamRun {
  StreamRun(std::vector<SequenceOutput> outputs, std::vector<std::string> stop = {}, int min_tokens = 0,
            int num_samples = 1) {
    auto context = std::make_shared<RequestContext>();
    context->id = 7;
    context->sink = &sink;
    context->stop = std::move(stop);
    context->min_tokens = min_tokens;
    context->num_samples = num_samples;
    context->origin.request_id = "mine";
    context->arrival = absl::Now() - absl::Seconds(2);
    StreamThread thread(tokenizer, metrics,
                        {.finish_sample = [this](RequestId id, int index) { finished.emplace_back(id, index); },
                         .request_over = [this](const RequestRecord& over) { records.push_back(over); }});
    thread.Open(std::move(context));
    for (SequenceOutput& output : outputs) thread.Push({std::move(output)});
  }

  const std::vector<ResponseDelta>& deltas() const { return sink.deltas; }
  std::string text(int index = 0) const {
    std::string text;
    for (const ResponseDelta& delta : deltas()) text += delta.output.index == index ? delta.text : "";
    return text;
  }
  std::vector<TokenId> tokens() const {
    std::vector<TokenId> tokens;
    for (const ResponseDelta& delta : deltas()) {
      tokens.insert(tokens.end(), delta.output.tokens.begin(), delta.output.tokens.end());
    }
    return tokens;
  }

  LetterTokenizer tokenizer;
  RecordingSink sink;
  Metrics metrics{{.model_name = "letters", .max_model_len = 100}};
  std::vector<std::pair<RequestId, int>> finished;
  std::vector<RequestRecord> records;
};

TEST(StreamThread, TurnsTokensIntoTextAsTheyCome) {
  const StreamRun run({Output({7}), Output({8}), Last(Output({LetterTokenizer::kEnd}, FinishReason::kStop))});
  ASSERT_EQ(run.deltas().size(), 3u);
  EXPECT_EQ(run.deltas()[0].text, "h");
  EXPECT_EQ(run.deltas()[1].text, "i");
  EXPECT_EQ(run.deltas()[2].text, "") << "a control token has no text";
  EXPECT_THAT(run.deltas()[2].output.tokens, ElementsAre(LetterTokenizer::kEnd)) << "but its id is told";
  EXPECT_EQ(run.deltas()[2].output.finish_reason, FinishReason::kStop);
  EXPECT_TRUE(run.deltas()[2].output.last);
  EXPECT_EQ(run.records.size(), 1u);
  EXPECT_THAT(run.finished, IsEmpty());
}

TEST(StreamThread, HoldsBackHalfACharacter) {
  const StreamRun run(
      {Output({LetterTokenizer::kAccentFirst}), Last(Output({LetterTokenizer::kAccentSecond}, FinishReason::kLength))});
  ASSERT_EQ(run.deltas().size(), 2u);
  EXPECT_EQ(run.deltas()[0].text, "");
  EXPECT_THAT(run.deltas()[0].output.tokens, ElementsAre(LetterTokenizer::kAccentFirst));
  EXPECT_EQ(run.deltas()[1].text, "é");
}

TEST(StreamThread, EndsAnIncompleteCharacterAsAReplacementCharacter) {
  const StreamRun run({Last(Output({0, LetterTokenizer::kAccentFirst}, FinishReason::kLength))});
  EXPECT_EQ(run.text(), "a\xEF\xBF\xBD");
}

TEST(StreamThread, CutsAtAStopStringAndTellsTheEngineOnce) {
  const StreamRun run(
      {Output({0}), Output({1}), Output({2}), Output({3}), Output({4}), Last(Output({}, FinishReason::kStop))}, {"cd"});
  EXPECT_EQ(run.text(), "ab");
  EXPECT_THAT(run.tokens(), ElementsAre(0, 1, 2, 3)) << "up to the token that completed it";
  EXPECT_THAT(run.finished, ElementsAre(Pair(7, 0)));
  EXPECT_EQ(run.deltas().back().output.finish_reason, FinishReason::kStop);
  EXPECT_EQ(run.deltas().back().stop_string, "cd");
  EXPECT_EQ(run.deltas().back().output.usage.completion_tokens, 4) << "tokens that were not sent are not counted";
  EXPECT_EQ(run.deltas().back().output.usage.prompt_tokens, 3);
}

TEST(StreamThread, CutsLogprobsWithTheirTokens) {
  SequenceOutput output = Output({0, 1, 2});
  output.logprobs.resize(3);
  const StreamRun run({output, Last(Output({}, FinishReason::kStop))}, {"b"});
  EXPECT_EQ(run.deltas()[0].output.tokens.size(), 2u);
  EXPECT_EQ(run.deltas()[0].output.logprobs.size(), 2u);
}

TEST(StreamThread, CallsItStopWhenAStopStringEndsWithTheLastAllowedToken) {
  const StreamRun run({Last(Output({0, 1}, FinishReason::kLength))}, {"b"});
  EXPECT_EQ(run.text(), "a");
  EXPECT_EQ(run.deltas().back().output.finish_reason, FinishReason::kStop);
  EXPECT_THAT(run.finished, IsEmpty()) << "the engine has ended it already";
}

TEST(StreamThread, GivesOutWhatAStopStringMightHaveTakenBackWhenTheSampleEnds) {
  const StreamRun run({Output({0}), Last(Output({1}, FinishReason::kLength))}, {"bc"});
  EXPECT_EQ(run.text(), "ab");
}

TEST(StreamThread, LeavesStopStringsUnheededBelowMinTokens) {
  const StreamRun run({Output({1}), Output({1}), Output({1}), Last(Output({}, FinishReason::kStop))}, {"b"},
                      /*min_tokens=*/3);
  EXPECT_EQ(run.tokens().size(), 3u);
  EXPECT_EQ(run.text(), "bb");
  EXPECT_THAT(run.finished, ElementsAre(Pair(7, 0)));
}

TEST(StreamThread, KeepsSamplesApart) {
  const StreamRun run(
      {Output({0}, FinishReason::kNone, 0), Output({2}, FinishReason::kNone, 1), Output({1}, FinishReason::kNone, 0),
       Output({3}, FinishReason::kLength, 1), Last(Output({}, FinishReason::kStop, 0))},
      {"b"}, 0, /*num_samples=*/2);
  EXPECT_EQ(run.text(0), "a");
  EXPECT_EQ(run.text(1), "cd");
  EXPECT_THAT(run.finished, ElementsAre(Pair(7, 0)));
  EXPECT_EQ(run.deltas().back().output.usage.completion_tokens, 4);
}

TEST(StreamThread, TellsOfARequestThatIsOver) {
  const StreamRun run(
      {Output({0}, FinishReason::kNone, 0), Output({2}, FinishReason::kNone, 1), Output({1}, FinishReason::kNone, 0),
       Output({3, 4}, FinishReason::kLength, 1), Last(Output({}, FinishReason::kStop, 0))},
      {"b"}, 0, /*num_samples=*/2);
  ASSERT_EQ(run.records.size(), 1u);
  const RequestRecord& record = run.records[0];
  EXPECT_EQ(record.origin.request_id, "mine");
  EXPECT_EQ(record.num_samples, 2);
  EXPECT_THAT(record.finish_reasons, ElementsAre(FinishReason::kStop, FinishReason::kLength));
  EXPECT_EQ(record.longest_sample, 3);
  EXPECT_EQ(record.usage.completion_tokens, 5);
  ASSERT_TRUE(record.first_token.has_value());
  EXPECT_GE(*record.first_token, absl::Seconds(2));
  EXPECT_GE(record.latency, *record.first_token);
  const std::string rendered = run.metrics.Render();
  EXPECT_THAT(rendered, HasSubstr("vllm:time_to_first_token_seconds_count{engine=\"0\",model_name=\"letters\"} 1\n"));
  EXPECT_THAT(rendered, HasSubstr("vllm:inter_token_latency_seconds_count{engine=\"0\",model_name=\"letters\"} 2\n"));
}

TEST(StreamThread, KnowsNoFirstTokenWhereNoneCame) {
  const StreamRun run({LastOutput(7, absl::ResourceExhaustedError("full"))});
  ASSERT_EQ(run.records.size(), 1u);
  EXPECT_EQ(run.records[0].status, absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(run.records[0].first_token, std::nullopt);
}

TEST(StreamThread, NamesNoStopStringWhereAStopTokenEndedTheSample) {
  const StreamRun run({Last(Output({0, LetterTokenizer::kEnd}, FinishReason::kStop))}, {"b"});
  EXPECT_EQ(run.deltas().back().stop_string, "");
}

TEST(StreamThread, CallsItStopWhenTheEndShowsThatAStopStringWasThere) {
  const StreamRun run({Last(Output({0, 1}, FinishReason::kLength))}, {"b", "abc"});
  EXPECT_EQ(run.text(), "a");
  EXPECT_EQ(run.deltas().back().output.finish_reason, FinishReason::kStop);
  EXPECT_EQ(run.deltas().back().stop_string, "b");
}

TEST(StreamThread, RunsAJobAfterWhatWasPushedBeforeIt) {
  const LetterTokenizer tokenizer;
  RecordingSink sink;
  Metrics metrics{{.model_name = "letters", .max_model_len = 100}};
  size_t num_deltas = 0;
  auto context = std::make_shared<RequestContext>();
  context->id = 7;
  context->sink = &sink;
  {
    StreamThread thread(tokenizer, metrics, {.finish_sample = nullptr, .request_over = [](const RequestRecord&) {}});
    thread.Open(std::move(context));
    thread.Push({Output({0})});
    thread.Post([&] { num_deltas = sink.deltas.size(); });
    thread.Push({Last(Output({1}, FinishReason::kLength))});
  }
  EXPECT_EQ(num_deltas, 1u);
  EXPECT_EQ(sink.deltas.size(), 2u);
}

TEST(StreamThread, PassesAFailureOn) {
  const StreamRun run({Output({0}), LastOutput(7, absl::InternalError("broken"))});
  EXPECT_EQ(run.deltas().back().output.status, absl::InternalError("broken"));
  EXPECT_EQ(run.records.size(), 1u);
}

}  // namespace
}  // namespace quire
