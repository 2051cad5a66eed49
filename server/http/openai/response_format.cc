#include "server/http/openai/response_format.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "engine/tokenizer/conversation.h"
#include "server/http/http_errors.h"
#include "server/http/openai/answer_parts.h"

namespace quire {
namespace {

std::string NewId() { return absl::StrCat("resp_", RequestIdFor("")); }

Json ResponseUsageJson(const Usage& usage) {
  return {{"input_tokens", usage.prompt_tokens},
          {"input_tokens_details", CachedTokensJson(usage)},
          {"output_tokens", usage.completion_tokens},
          {"output_tokens_details", {{"reasoning_tokens", 0}}},
          {"total_tokens", usage.prompt_tokens + usage.completion_tokens}};
}

Json TextPart(const std::string& text) {
  return {{"type", "output_text"}, {"text", text}, {"annotations", Json::array()}, {"logprobs", Json::array()}};
}

// What the assistant said, for the template of a request that goes on from here.
Json AssistantMessage(const std::vector<AnswerPiece>& items) {
  std::string text;
  Json calls = Json::array();
  for (const AnswerPiece& item : items) {
    if (item.call < 0) {
      text += item.text;
    } else {
      calls.push_back(FunctionCall(item.id, item.name, item.text));
    }
  }
  Json message = TextMessage("assistant", std::move(text));
  if (!calls.empty()) message["tool_calls"] = std::move(calls);
  return message;
}

}  // namespace

ResponseFormat::ResponseFormat(std::string model, ResponseStore& store, const ResponseRequest& request)
    : model_(std::move(model)),
      store_(request.store ? &store : nullptr),
      id_(NewId()),
      key_(ResponseKey(request.tenant, id_)),
      created_at_(absl::ToUnixSeconds(absl::Now())),
      settings_(request.settings),
      messages_(request.messages) {}

std::string ResponseFormat::ItemId(size_t index) const { return absl::StrCat("item_", id_.substr(5), "_", index); }

Json ResponseFormat::ItemJson(size_t index, const AnswerPiece& piece, const char* status) const {
  if (piece.call >= 0) {
    return {{"type", "function_call"}, {"id", ItemId(index)},     {"call_id", piece.id},
            {"name", piece.name},      {"arguments", piece.text}, {"status", status}};
  }
  Json content = Json::array();
  if (!piece.text.empty()) content.push_back(TextPart(piece.text));
  return {{"type", "message"},
          {"id", ItemId(index)},
          {"status", status},
          {"role", "assistant"},
          {"content", std::move(content)}};
}

Json ResponseFormat::ResponseJson(const char* status, Json output, Json usage) const {
  const bool cut = whole_.output.finish_reason == FinishReason::kLength;
  Json response = {{"id", id_},
                   {"object", "response"},
                   {"created_at", created_at_},
                   {"status", status},
                   {"error", nullptr},
                   {"incomplete_details", cut ? Json{{"reason", "max_output_tokens"}} : Json()},
                   {"model", model_},
                   {"output", std::move(output)},
                   {"usage", std::move(usage)}};
  response.update(settings_);
  return response;
}

const char* ResponseFormat::FinalStatus() const {
  return whole_.output.finish_reason == FinishReason::kLength ? "incomplete" : "completed";
}

Json ResponseFormat::Finish(const std::vector<AnswerPiece>& items) {
  Json output = Json::array();
  for (const AnswerPiece& item : items) {
    const bool last = output.size() + 1 == items.size();
    output.push_back(ItemJson(output.size(), item, last ? FinalStatus() : "completed"));
  }
  Json response = ResponseJson(FinalStatus(), std::move(output), ResponseUsageJson(whole_.output.usage));
  if (store_ != nullptr) {
    store_->Add(key_, {ToText(response), absl::StrCat(messages_, ",", ToText(AssistantMessage(items)))});
  }
  return response;
}

Json ResponseFormat::Whole() { return Finish(PiecesOf(whole_)); }

void ResponseFormat::AppendEvents(GenerationDelta news, std::string& events) {
  ResponseDelta& delta = news.delta;
  if (!std::exchange(begun_, true)) {
    for (const char* type : {"response.created", "response.in_progress"}) {
      AppendResponse(type, ResponseJson("in_progress", Json::array(), nullptr), events);
    }
  }
  for (AnswerPiece& piece : PiecesOf(delta)) AppendPiece(std::move(piece), events);
  delta.text.clear();
  delta.pieces.clear();
  Append(whole_, std::move(delta));
}

void ResponseFormat::AppendResponse(const char* type, Json response, std::string& events) {
  AppendTypedEvent({{"type", type}, {"sequence_number", num_events_++}, {"response", std::move(response)}}, events);
}

void ResponseFormat::AppendPiece(AnswerPiece piece, std::string& events) {
  if (items_.empty() || items_.back().call != piece.call) {
    if (!items_.empty()) AppendItemEnd("completed", events);
    items_.push_back({.call = piece.call, .id = piece.id, .name = piece.name});
    AppendItemBegin(events);
  }
  if (piece.text.empty()) return;
  items_.back().text += piece.text;
  if (piece.call < 0) {
    AppendItemEvent("response.output_text.delta",
                    {{"content_index", 0}, {"delta", std::move(piece.text)}, {"logprobs", Json::array()}}, events);
  } else {
    AppendItemEvent("response.function_call_arguments.delta", {{"delta", std::move(piece.text)}}, events);
  }
}

void ResponseFormat::AppendItemBegin(std::string& events) {
  const AnswerPiece& item = items_.back();
  AppendItemEvent("response.output_item.added", {{"item", ItemJson(items_.size() - 1, item, "in_progress")}}, events);
  if (item.call < 0) {
    AppendItemEvent("response.content_part.added", {{"content_index", 0}, {"part", TextPart("")}}, events);
  }
}

void ResponseFormat::AppendItemEnd(const char* status, std::string& events) {
  const AnswerPiece& item = items_.back();
  if (item.call < 0) {
    AppendItemEvent("response.output_text.done",
                    {{"content_index", 0}, {"text", item.text}, {"logprobs", Json::array()}}, events);
    AppendItemEvent("response.content_part.done", {{"content_index", 0}, {"part", TextPart(item.text)}}, events);
  } else {
    AppendItemEvent("response.function_call_arguments.done", {{"name", item.name}, {"arguments", item.text}}, events);
  }
  AppendItemEvent("response.output_item.done", {{"item", ItemJson(items_.size() - 1, item, status)}}, events);
}

void ResponseFormat::AppendItemEvent(const char* type, Json fields, std::string& events) {
  Json event = {{"type", type},
                {"sequence_number", num_events_++},
                {"item_id", ItemId(items_.size() - 1)},
                {"output_index", items_.size() - 1}};
  event.update(fields);
  AppendTypedEvent(event, events);
}

void ResponseFormat::AppendEnd(std::string& events) {
  if (!items_.empty()) AppendItemEnd(FinalStatus(), events);
  AppendResponse(absl::StrCat("response.", FinalStatus()).c_str(), Finish(items_), events);
}

void ResponseFormat::AppendError(const absl::Status& status, std::string& events) {
  const Json body = ErrorBody(status);
  const Json& error = body["error"];
  AppendTypedEvent({{"type", "error"},
                    {"sequence_number", num_events_++},
                    {"code", error["code"]},
                    {"message", error["message"]},
                    {"param", error["param"]}},
                   events);
}

}  // namespace quire
