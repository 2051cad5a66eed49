// How /v1/messages puts its answers: as blocks of text and of calls.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "server/http/answer.h"

namespace quire {

class MessageFormat final : public AnswerFormat {
 public:
  // `id` is the answer's, `model` the name of who answers.
  MessageFormat(std::string id, std::string model) : id_(std::move(id)), model_(std::move(model)) {}

  void Collect(GenerationDelta news) override { Append(whole_, std::move(news.delta)); }
  Json Whole() override;
  void AppendEvents(GenerationDelta news, std::string& events) override;
  void AppendEnd(std::string& events) override;
  void AppendError(const absl::Status& status, std::string& events) override;

 private:
  Json MessageJson(Json content, Json stop_reason, Json stop_sequence, const Usage& usage) const;
  void AppendPiece(AnswerPiece piece, std::string& events);
  void AppendBlockEnd(std::string& events) const;

  const std::string id_, model_;
  // All of it, where it is collected; of a stream, what its end tells.
  ResponseDelta whole_;
  bool begun_ = false;               // A stream: its first event was made.
  std::vector<AnswerPiece> blocks_;  // A stream's so far, of which only the last one's text matters.
};

}  // namespace quire
