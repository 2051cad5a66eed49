#include "server/http/openai/chat_format.h"

#include <utility>

#include "engine/tokenizer/conversation.h"
#include "server/http/openai/answer_parts.h"
#include "server/http/openai/logprobs_json.h"

namespace quire {

namespace {

// What a stream tells of a call: at first who it is, then more of its arguments.
Json CallDelta(const AnswerPiece& piece) {
  Json call = {{"index", piece.call}};
  Json function = Json::object();
  if (!piece.name.empty()) {
    call["id"] = piece.id;
    call["type"] = "function";
    function["name"] = piece.name;
  }
  function["arguments"] = piece.text;
  call["function"] = std::move(function);
  return call;
}

// A whole answer; its content is null where it is calls and nothing else.
Json MessageJson(const ResponseDelta& whole) {
  Json calls = Json::array();
  for (const AnswerPiece& piece : whole.pieces) {
    if (piece.call < 0) continue;
    if (piece.call == static_cast<int>(calls.size())) calls.push_back(FunctionCall(piece.id, piece.name, ""));
    calls.back()["function"]["arguments"].get_ref<std::string&>() += piece.text;
  }
  const bool no_content = whole.text.empty() && !calls.empty();
  Json message = {{"role", "assistant"}, {"content", no_content ? Json() : Json(whole.text)}, {"refusal", nullptr}};
  if (!calls.empty()) message["tool_calls"] = std::move(calls);
  return message;
}

}  // namespace

ChatFormat::ChatFormat(const HttpApi& api, const std::string& id, const ChatRequest& request)
    : api_(api),
      options_(request.options),
      logprobs_(request.logprobs),
      head_(AnswerHead(api, id, options_.stream ? "chat.completion.chunk" : "chat.completion")),
      choices_(request.num_choices()) {}

void ChatFormat::Collect(GenerationDelta news) {
  if (news.delta.output.last) usage_ = news.delta.output.usage;
  Append(choices_[news.delta.output.index].whole, std::move(news.delta));
}

Json ChatFormat::Whole() {
  Json choices = Json::array();
  for (const Choice& choice : choices_) {
    const ResponseDelta& whole = choice.whole;
    choices.push_back({{"index", choices.size()},
                       {"message", MessageJson(whole)},
                       {"logprobs", LogprobsOf(whole)},
                       {"finish_reason", FinishReasonJson(whole)}});
  }
  Json answer = head_;
  answer["choices"] = std::move(choices);
  answer["usage"] = UsageJson(usage_);
  return answer;
}

void ChatFormat::AppendEvents(GenerationDelta news, std::string& events) {
  const ResponseDelta& delta = news.delta;
  if (delta.output.last) usage_ = delta.output.usage;
  const int index = delta.output.index;
  if (!std::exchange(choices_[index].begun, true)) {
    AppendChunk(index, {{"role", "assistant"}, {"content", ""}}, nullptr, nullptr, events);
  }
  if (!delta.text.empty() || (logprobs_ && !delta.output.logprobs.empty())) {
    AppendChunk(index, {{"content", delta.text}}, LogprobsOf(delta), nullptr, events);
  }
  // A client keeps contents and calls apart, so that text between calls may come before them.
  for (const AnswerPiece& piece : delta.pieces) {
    if (piece.call < 0) continue;
    AppendChunk(index, {{"tool_calls", Json::array({CallDelta(piece)})}}, nullptr, nullptr, events);
  }
  if (delta.output.finish_reason != FinishReason::kNone) {
    AppendChunk(index, Json::object(), nullptr, FinishReasonJson(delta), events);
  }
}

void ChatFormat::AppendEnd(std::string& events) {
  if (options_.include_usage) {
    Json event = head_;
    event["choices"] = Json::array();
    event["usage"] = UsageJson(usage_);
    AppendEvent(event, events);
  }
  events += kEndOfEvents;
}

Json ChatFormat::LogprobsOf(const ResponseDelta& delta) const {
  if (!logprobs_) return nullptr;
  return {{"content", ChatLogprobs(*api_.model().tokenizer, delta.output.logprobs)}};
}

void ChatFormat::AppendChunk(int index, Json delta, Json logprobs, Json finish_reason, std::string& events) const {
  Json event = head_;
  event["choices"] = Json::array({{{"index", index},
                                   {"delta", std::move(delta)},
                                   {"logprobs", std::move(logprobs)},
                                   {"finish_reason", std::move(finish_reason)}}});
  if (options_.include_usage) event["usage"] = nullptr;
  AppendEvent(event, events);
}

}  // namespace quire
