#include "server/http/anthropic/message_format.h"

#include <utility>

#include "server/http/http_errors.h"

namespace quire {
namespace {

Json UsageJson(const Usage& usage) {
  return {{"input_tokens", usage.prompt_tokens - usage.cached_tokens},
          {"cache_creation_input_tokens", 0},
          {"cache_read_input_tokens", usage.cached_tokens},
          {"output_tokens", usage.completion_tokens}};
}

Json StopReason(const ResponseDelta& delta) {
  if (delta.ends_with_calls) return "tool_use";
  if (!delta.stop_string.empty()) return "stop_sequence";
  switch (delta.output.finish_reason) {
    case FinishReason::kNone:
      return nullptr;
    case FinishReason::kStop:
      return "end_turn";
    case FinishReason::kLength:
      return "max_tokens";
  }
  return nullptr;
}

Json StopSequence(const ResponseDelta& delta) { return delta.stop_string.empty() ? Json() : Json(delta.stop_string); }

// Arguments that max_tokens cut off are none.
Json Input(const std::string& arguments) {
  absl::StatusOr<Json> input = ParseJson(arguments);
  return input.ok() && input->is_object() ? *std::move(input) : Json::object();
}

Json BlockJson(const AnswerPiece& piece) {
  if (piece.call < 0) return {{"type", "text"}, {"text", piece.text}};
  return {{"type", "tool_use"}, {"id", piece.id}, {"name", piece.name}, {"input", Input(piece.text)}};
}

}  // namespace

Json MessageFormat::Whole() {
  Json content = Json::array();
  for (const AnswerPiece& piece : PiecesOf(whole_)) content.push_back(BlockJson(piece));
  return MessageJson(std::move(content), StopReason(whole_), StopSequence(whole_), whole_.output.usage);
}

Json MessageFormat::MessageJson(Json content, Json stop_reason, Json stop_sequence, const Usage& usage) const {
  return {{"id", id_},
          {"type", "message"},
          {"role", "assistant"},
          {"model", model_},
          {"content", std::move(content)},
          {"stop_reason", std::move(stop_reason)},
          {"stop_sequence", std::move(stop_sequence)},
          {"usage", UsageJson(usage)}};
}

void MessageFormat::AppendEvents(GenerationDelta news, std::string& events) {
  ResponseDelta& delta = news.delta;
  if (!std::exchange(begun_, true)) {
    AppendTypedEvent(
        {{"type", "message_start"}, {"message", MessageJson(Json::array(), nullptr, nullptr, delta.output.usage)}},
        events);
    AppendTypedEvent({{"type", "ping"}}, events);
  }
  for (AnswerPiece& piece : PiecesOf(delta)) AppendPiece(std::move(piece), events);
  delta.text.clear();
  delta.pieces.clear();
  Append(whole_, std::move(delta));
}

void MessageFormat::AppendPiece(AnswerPiece piece, std::string& events) {
  const bool begins = blocks_.empty() || blocks_.back().call != piece.call;
  const bool is_text = piece.call < 0;
  if (begins) {
    if (!blocks_.empty()) AppendBlockEnd(events);
    blocks_.push_back({.call = piece.call, .id = piece.id, .name = piece.name});
    AppendTypedEvent(
        {{"type", "content_block_start"}, {"index", blocks_.size() - 1}, {"content_block", BlockJson(blocks_.back())}},
        events);
  }
  if (piece.text.empty()) return;
  AppendTypedEvent({{"type", "content_block_delta"},
                    {"index", blocks_.size() - 1},
                    {"delta",
                     {{"type", is_text ? "text_delta" : "input_json_delta"},
                      {is_text ? "text" : "partial_json", std::move(piece.text)}}}},
                   events);
}

void MessageFormat::AppendBlockEnd(std::string& events) const {
  AppendTypedEvent({{"type", "content_block_stop"}, {"index", blocks_.size() - 1}}, events);
}

void MessageFormat::AppendEnd(std::string& events) {
  if (!blocks_.empty()) AppendBlockEnd(events);
  AppendTypedEvent({{"type", "message_delta"},
                    {"delta", {{"stop_reason", StopReason(whole_)}, {"stop_sequence", StopSequence(whole_)}}},
                    {"usage", UsageJson(whole_.output.usage)}},
                   events);
  AppendTypedEvent({{"type", "message_stop"}}, events);
}

void MessageFormat::AppendError(const absl::Status& status, std::string& events) {
  AppendTypedEvent(ErrorBody(status, ErrorForm::kAnthropic), events);
}

}  // namespace quire
