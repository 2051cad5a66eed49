#include "server/http/openai/chat_format.h"

#include <utility>

#include "server/http/openai/answer_parts.h"
#include "server/http/openai/logprobs_json.h"

namespace quire {

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
                       {"message", {{"role", "assistant"}, {"content", whole.text}, {"refusal", nullptr}}},
                       {"logprobs", LogprobsOf(whole)},
                       {"finish_reason", FinishReasonJson(whole.output.finish_reason)}});
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
    AppendEvent(index, {{"role", "assistant"}, {"content", ""}}, nullptr, FinishReason::kNone, events);
  }
  if (!delta.text.empty() || (logprobs_ && !delta.output.logprobs.empty())) {
    AppendEvent(index, {{"content", delta.text}}, LogprobsOf(delta), FinishReason::kNone, events);
  }
  if (delta.output.finish_reason != FinishReason::kNone) {
    AppendEvent(index, Json::object(), nullptr, delta.output.finish_reason, events);
  }
}

void ChatFormat::AppendEnd(std::string& events) {
  if (options_.include_usage) {
    Json event = head_;
    event["choices"] = Json::array();
    event["usage"] = UsageJson(usage_);
    quire::AppendEvent(event, events);
  }
  events += kEndOfEvents;
}

Json ChatFormat::LogprobsOf(const ResponseDelta& delta) const {
  if (!logprobs_) return nullptr;
  return {{"content", ChatLogprobs(*api_.model().tokenizer, delta.output.logprobs)}};
}

void ChatFormat::AppendEvent(int index, Json delta, Json logprobs, FinishReason finish_reason,
                             std::string& events) const {
  Json event = head_;
  event["choices"] = Json::array({{{"index", index},
                                   {"delta", std::move(delta)},
                                   {"logprobs", std::move(logprobs)},
                                   {"finish_reason", FinishReasonJson(finish_reason)}}});
  if (options_.include_usage) event["usage"] = nullptr;
  quire::AppendEvent(event, events);
}

}  // namespace quire
