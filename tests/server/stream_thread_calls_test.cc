// Tool calls in the streams of a model that writes what the test tells it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "server/stream_thread.h"

namespace quire {
namespace {

using ::testing::ElementsAre;

// Token i has the i-th text; token 0 is a control token.
class ScriptTokenizer : public Tokenizer {
 public:
  explicit ScriptTokenizer(std::vector<std::string> texts) : texts_(std::move(texts)) {}

  absl::StatusOr<std::vector<TokenId>> Encode(std::string_view, const EncodeOptions&) const override {
    return absl::UnimplementedError("nobody asks");
  }
  std::string_view TokenBytes(TokenId token, bool keep_special) const override {
    return token == 0 && !keep_special ? std::string_view() : texts_[token];
  }
  int vocab_size() const override { return static_cast<int>(texts_.size()); }
  TokenId bos() const override { return -1; }
  TokenId eos() const override { return -1; }
  const std::vector<TokenId>& end_tokens() const override { return end_tokens_; }

 private:
  const std::vector<std::string> texts_;
  const std::vector<TokenId> end_tokens_;
};

class RecordingSink : public ResponseSink {
 public:
  void Deliver(ResponseDelta delta) override { deltas.push_back(std::move(delta)); }
  std::vector<ResponseDelta> deltas;
};

// Each text a token and a step of its own; the last step ends the sample as `reason` says.
std::vector<ResponseDelta> Stream(const std::string& syntax, std::vector<std::string> texts, bool parallel = true,
                                  FinishReason reason = FinishReason::kStop) {
  const ScriptTokenizer tokenizer(std::move(texts));
  RecordingSink sink;
  Metrics metrics({.model_name = "script", .max_model_len = 100});
  auto context = std::make_shared<RequestContext>();
  context->id = 1;
  context->sink = &sink;
  context->call_syntax = FindCallSyntax(syntax, "");
  context->parallel_calls = parallel;
  context->shown_tokens = {0};
  {  // The thread delivers everything before it ends.
    StreamThread thread(tokenizer, metrics,
                        {.finish_sample = [](RequestId, int) {}, .request_over = [](const RequestRecord&) {}});
    thread.Open(std::move(context));
    for (TokenId token = 0; token < tokenizer.vocab_size(); ++token) {
      SequenceOutput output;
      output.request = 1;
      output.tokens = {token};
      output.last = token + 1 == tokenizer.vocab_size();
      if (output.last) output.finish_reason = reason;
      thread.Push({std::move(output)});
    }
  }
  return std::move(sink.deltas);
}

// "text", "f#0(" for the beginning of a call, "#0+" for more of its arguments.
std::vector<std::string> Shown(const std::vector<ResponseDelta>& deltas) {
  std::vector<std::string> shown;
  for (const ResponseDelta& delta : deltas) {
    std::string text;
    for (const AnswerPiece& piece : delta.pieces) {
      const std::string call = piece.call < 0 ? "" : piece.name + "#" + std::to_string(piece.call);
      shown.push_back(call + (piece.call < 0 ? "" : piece.name.empty() ? "+" : "(") + piece.text);
      if (piece.call < 0) text += piece.text;
    }
    EXPECT_EQ(delta.text, text) << "those that know no calls see the plain text";
  }
  return shown;
}

TEST(StreamThreadCalls, TellsOfACallAsItIsWritten) {
  const auto deltas = Stream("mistral", {"[TOOL_CALLS]", "[{\"name\": \"f\", \"argu", "ments\": {\"a", "\": 1}", "}]"});
  EXPECT_THAT(Shown(deltas), ElementsAre("f#0({\"a", "#0+\": 1}"));
  EXPECT_TRUE(deltas.back().ends_with_calls);
  EXPECT_EQ(deltas.size(), 5u) << "tokens are told of, also where they make no text";
}

TEST(StreamThreadCalls, PassesPlainTextOn) {
  const auto deltas = Stream("hermes", {"<s>", "Well, ", "a <", "b", "<tool_"});
  EXPECT_THAT(Shown(deltas), ElementsAre("<s>", "Well, ", "a ", "<b", "<tool_"));
  EXPECT_FALSE(deltas.back().ends_with_calls);
}

TEST(StreamThreadCalls, DoesNotCallWhatALengthLimitCutTheEndOfACall) {
  const auto deltas =
      Stream("mistral", {"[TOOL_CALLS]", "f{\"a\": ", "[1, "}, /*parallel=*/true, FinishReason::kLength);
  EXPECT_THAT(Shown(deltas), ElementsAre("f#0({\"a\": ", "#0+[1, "));
  EXPECT_FALSE(deltas.back().ends_with_calls);
}

TEST(StreamThreadCalls, DropsFurtherCallsWhereOneIsWanted) {
  const auto deltas =
      Stream("mistral", {"[TOOL_CALLS]", "[{\"name\": \"f\"}", ", {\"name\": \"g\"}]"}, /*parallel=*/false);
  EXPECT_THAT(Shown(deltas), ElementsAre("f#0({}"));
  EXPECT_TRUE(deltas.back().ends_with_calls);
}

}  // namespace
}  // namespace quire
