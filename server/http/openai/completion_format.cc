#include "server/http/openai/completion_format.h"

#include <utility>

#include "server/http/openai/answer_parts.h"
#include "server/http/openai/logprobs_json.h"

namespace quire {

CompletionFormat::CompletionFormat(const HttpApi& api, const std::string& id, CompletionRequest request)
    : api_(api),
      request_(std::move(request)),
      head_(AnswerHead(api, id, "text_completion")),
      choices_(request_.prompts.size() * num_samples()),
      prompt_logprobs_(request_.prompts.size()) {}

void CompletionFormat::Note(GenerationDelta& news) {
  SequenceOutput& output = news.delta.output;
  if (!output.prompt_logprobs.empty()) prompt_logprobs_[news.request] = std::exchange(output.prompt_logprobs, {});
  if (request_.no_output) {
    news.delta.text.clear();
    output.tokens.clear();
    output.logprobs.clear();
    output.usage.completion_tokens = 0;
    if (output.finish_reason != FinishReason::kNone) output.finish_reason = FinishReason::kLength;
  }
  if (!output.last) return;
  usage_.prompt_tokens += output.usage.prompt_tokens;
  usage_.cached_tokens += output.usage.cached_tokens;
  usage_.cached_tokens_host += output.usage.cached_tokens_host;
  usage_.cached_tokens_disk += output.usage.cached_tokens_disk;
  usage_.completion_tokens += output.usage.completion_tokens;
}

void CompletionFormat::Collect(GenerationDelta news) {
  Note(news);
  Append(choices_[news.request * num_samples() + news.delta.output.index].whole, std::move(news.delta));
}

Json CompletionFormat::Whole() {
  Json choices = Json::array();
  for (size_t i = 0; i < choices_.size(); ++i) choices.push_back(ChoiceJson(static_cast<int>(i), choices_[i].whole));
  Json answer = head_;
  answer["choices"] = std::move(choices);
  answer["usage"] = UsageJson(usage_);
  return answer;
}

void CompletionFormat::AppendEvents(GenerationDelta news, std::string& events) {
  Note(news);
  const int index = news.request * num_samples() + news.delta.output.index;
  const bool finished = news.delta.output.finish_reason != FinishReason::kNone;
  const bool first = request_.echo && !choices_[index].begun;
  const bool news_of_tokens = !news.delta.text.empty() || (logprobs() && !news.delta.output.logprobs.empty());
  if (!finished && !first && !news_of_tokens) return;
  Json event = head_;
  event["choices"] = Json::array({ChoiceJson(index, news.delta)});
  if (request_.options.include_usage) event["usage"] = nullptr;
  AppendEvent(event, events);
}

void CompletionFormat::AppendEnd(std::string& events) {
  if (request_.options.include_usage) {
    Json event = head_;
    event["choices"] = Json::array();
    event["usage"] = UsageJson(usage_);
    AppendEvent(event, events);
  }
  events += kEndOfEvents;
}

Json CompletionFormat::ChoiceJson(int index, const ResponseDelta& delta) {
  Choice& choice = choices_[index];
  const int prompt = index / num_samples();
  const bool echo = request_.echo && !std::exchange(choice.begun, true);
  Json logprobs_json;
  if (logprobs()) {
    CompletionLogprobs list(*api_.model().tokenizer, choice.text_offset);
    if (echo) {
      list.AddFirst(request_.prompts[prompt].first_token);
      for (const TokenLogprob& logprob : prompt_logprobs_[prompt]) list.Add(logprob);
    }
    for (const TokenLogprob& logprob : delta.output.logprobs) list.Add(logprob);
    choice.text_offset = list.offset();
    logprobs_json = list.Take();
  }
  return {{"index", index},
          {"text", (echo ? request_.prompts[prompt].echo : "") + delta.text},
          {"logprobs", std::move(logprobs_json)},
          {"finish_reason", FinishReasonJson(delta.output.finish_reason)}};
}

}  // namespace quire
