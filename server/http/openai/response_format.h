// How /v1/responses puts its answers: as items, a message or a call each.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "server/http/answer.h"
#include "server/http/openai/response_request.h"

namespace quire {

class ResponseFormat final : public AnswerFormat {
 public:
  // Gives the response an id that nobody can guess. Its end puts it into `store`, which outlives this object, if the
  // request asks for that. `model` is the name of who answers.
  ResponseFormat(std::string model, ResponseStore& store, const ResponseRequest& request);

  void Collect(GenerationDelta news) override { Append(whole_, std::move(news.delta)); }
  Json Whole() override;
  void AppendEvents(GenerationDelta news, std::string& events) override;
  void AppendEnd(std::string& events) override;
  void AppendError(const absl::Status& status, std::string& events) override;

 private:
  std::string ItemId(size_t index) const;
  Json ItemJson(size_t index, const AnswerPiece& piece, const char* status) const;
  Json ResponseJson(const char* status, Json output, Json usage) const;
  // The response at its end, which is stored.
  Json Finish(const std::vector<AnswerPiece>& items);
  const char* FinalStatus() const;

  // Of a stream.
  void AppendResponse(const char* type, Json response, std::string& events);
  void AppendPiece(AnswerPiece piece, std::string& events);
  void AppendItemBegin(std::string& events);
  void AppendItemEnd(const char* status, std::string& events);
  // With `fields`, the event says of the last item. Numbers events.
  void AppendItemEvent(const char* type, Json fields, std::string& events);

  const std::string model_;
  ResponseStore* const store_;  // Null: it is not to be stored.
  const std::string id_;
  const std::string key_;  // In the store.
  const int64_t created_at_;
  const Json settings_;
  const std::string messages_;  // See ResponseRequest.
  ResponseDelta whole_;         // All of it, where it is collected; of a stream, what its end tells.
  bool begun_ = false;
  int num_events_ = 0;
  std::vector<AnswerPiece> items_;  // A stream's so far.
};

}  // namespace quire
