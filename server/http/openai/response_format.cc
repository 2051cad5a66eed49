#include "server/http/openai/response_format.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/http/http_errors.h"
#include "server/http/openai/answer_parts.h"
#include "server/http/openai/logprobs_json.h"

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

}  // namespace

ResponseFormat::ResponseFormat(const ServedModel& model, ResponseStore& store, const ResponseRequest& request)
    : model_(model),
      store_(request.store ? &store : nullptr),
      id_(NewId()),
      key_(ResponseKey(request.tenant, id_)),
      created_at_(absl::ToUnixSeconds(absl::Now())),
      settings_(request.settings),
      request_items_(request.items),
      logprobs_(*model.tokenizer) {}

Json ResponseFormat::LogprobsJson(const std::vector<TokenLogprob>& logprobs) const {
  return ChatLogprobs(*model_.tokenizer, logprobs);
}

Json ResponseFormat::TextPart(const Item& item) const {
  return {{"type", "output_text"},
          {"text", item.piece.text},
          {"annotations", Json::array()},
          {"logprobs", LogprobsJson(item.logprobs)}};
}

Json ResponseFormat::ItemJson(size_t index, const Item& item, const char* status) const {
  const AnswerPiece& piece = item.piece;
  if (piece.call >= 0) {
    return {{"type", "function_call"}, {"id", IdOfItem(index)},   {"call_id", piece.id},
            {"name", piece.name},      {"arguments", piece.text}, {"status", status}};
  }
  Json content = Json::array();
  if (!piece.text.empty()) content.push_back(TextPart(item));
  return {{"type", "message"},
          {"id", IdOfItem(index)},
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
                   {"model", model_.name},
                   {"output", std::move(output)},
                   {"usage", std::move(usage)}};
  response.update(settings_);
  return response;
}

const char* ResponseFormat::FinalStatus() const {
  return whole_.output.finish_reason == FinishReason::kLength ? "incomplete" : "completed";
}

Json ResponseFormat::Finish(const std::vector<Item>& items) {
  Json output = Json::array();
  for (const Item& item : items) {
    const bool last = output.size() + 1 == items.size();
    output.push_back(ItemJson(output.size(), item, last ? FinalStatus() : "completed"));
  }
  Json response = ResponseJson(FinalStatus(), std::move(output), ResponseUsageJson(whole_.output.usage));
  if (store_ != nullptr) Store(response);
  return response;
}

void ResponseFormat::Store(const Json& response) {
  Json items = response["output"];
  // An answer without a word is one as well, for a template in which turns are taken.
  if (items.empty()) items.push_back(ItemJson(0, {}, FinalStatus()));
  for (Json& item : items) {
    if (item["type"] != "message") continue;
    for (Json& part : item["content"]) part["logprobs"] = Json::array();
  }
  store_->Add(key_, {.response = ToText(response),
                     .items = absl::StrCat(request_items_, ",", ElementsText(items)),
                     .input_bytes = request_items_.size()});
}

Json ResponseFormat::Whole() {
  logprobs_.Add(whole_.output.logprobs);
  std::vector<Item> items;
  for (AnswerPiece& piece : PiecesOf(whole_)) {
    Item& item = items.emplace_back();
    if (piece.call < 0) item.logprobs = logprobs_.Take(piece.text);
    item.piece = std::move(piece);
  }
  return Finish(items);
}

void ResponseFormat::AppendEvents(GenerationDelta news, std::string& events) {
  ResponseDelta& delta = news.delta;
  if (!std::exchange(begun_, true)) {
    for (const char* type : {"response.created", "response.in_progress"}) {
      AppendResponse(type, ResponseJson("in_progress", Json::array(), nullptr), events);
    }
  }
  logprobs_.Add(delta.output.logprobs);
  for (AnswerPiece& piece : PiecesOf(delta)) AppendPiece(std::move(piece), events);
  delta.text.clear();
  delta.pieces.clear();
  delta.output.logprobs.clear();
  Append(whole_, std::move(delta));
}

void ResponseFormat::AppendResponse(const char* type, Json response, std::string& events) {
  AppendTypedEvent({{"type", type}, {"sequence_number", num_events_++}, {"response", std::move(response)}}, events);
}

void ResponseFormat::AppendPiece(AnswerPiece piece, std::string& events) {
  if (items_.empty() || items_.back().piece.call != piece.call) {
    if (!items_.empty()) AppendItemEnd("completed", events);
    items_.push_back({.piece = {.call = piece.call, .id = piece.id, .name = piece.name}, .logprobs = {}});
    AppendItemBegin(events);
  }
  if (piece.text.empty()) return;
  Item& item = items_.back();
  item.piece.text += piece.text;
  if (piece.call >= 0) {
    AppendItemEvent("response.function_call_arguments.delta", {{"delta", std::move(piece.text)}}, events);
    return;
  }
  const std::vector<TokenLogprob> logprobs = logprobs_.Take(piece.text);
  item.logprobs.insert(item.logprobs.end(), logprobs.begin(), logprobs.end());
  AppendItemEvent("response.output_text.delta",
                  {{"content_index", 0}, {"delta", std::move(piece.text)}, {"logprobs", LogprobsJson(logprobs)}},
                  events);
}

void ResponseFormat::AppendItemBegin(std::string& events) {
  const Item& item = items_.back();
  AppendItemEvent("response.output_item.added", {{"item", ItemJson(items_.size() - 1, item, "in_progress")}}, events);
  if (item.piece.call < 0) {
    AppendItemEvent("response.content_part.added", {{"content_index", 0}, {"part", TextPart({})}}, events);
  }
}

void ResponseFormat::AppendItemEnd(const char* status, std::string& events) {
  const Item& item = items_.back();
  const AnswerPiece& piece = item.piece;
  if (piece.call < 0) {
    AppendItemEvent("response.output_text.done",
                    {{"content_index", 0}, {"text", piece.text}, {"logprobs", LogprobsJson(item.logprobs)}}, events);
    AppendItemEvent("response.content_part.done", {{"content_index", 0}, {"part", TextPart(item)}}, events);
  } else {
    AppendItemEvent("response.function_call_arguments.done", {{"name", piece.name}, {"arguments", piece.text}}, events);
  }
  AppendItemEvent("response.output_item.done", {{"item", ItemJson(items_.size() - 1, item, status)}}, events);
}

void ResponseFormat::AppendItemEvent(const char* type, Json fields, std::string& events) {
  Json event = {{"type", type},
                {"sequence_number", num_events_++},
                {"item_id", IdOfItem(items_.size() - 1)},
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
