// How /v1/responses puts its answers: as items, a message or a call each.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "server/http/answer.h"
#include "server/http/openai/response_items.h"
#include "server/http/openai/response_request.h"
#include "server/http/openai/text_logprobs.h"

namespace quire {

class ResponseFormat final : public AnswerFormat {
 public:
  // Gives the response an id that nobody can guess. Its end puts it into `store` if the request asks for that. `model`,
  // which answers, and `store` outlive this object.
  ResponseFormat(const ServedModel& model, ResponseStore& store, const ResponseRequest& request);

  void Collect(GenerationDelta news) override { Append(whole_, std::move(news.delta)); }
  Json Whole() override;
  void AppendEvents(GenerationDelta news, std::string& events) override;
  void AppendEnd(std::string& events) override;
  void AppendError(const absl::Status& status, std::string& events) override;

 private:
  struct Item {
    AnswerPiece piece;
    std::vector<TokenLogprob> logprobs;  // Of a message's text, where they are wanted.
  };

  std::string IdOfItem(size_t index) const { return ItemId(id_.substr(5), index); }
  Json LogprobsJson(const std::vector<TokenLogprob>& logprobs) const;
  Json TextPart(const Item& item) const;
  Json ItemJson(size_t index, const Item& item, const char* status) const;
  Json ResponseJson(const char* status, Json output, Json usage) const;
  // The response at its end, which is stored.
  Json Finish(const std::vector<Item>& items);
  void Store(const Json& response);
  const char* FinalStatus() const;

  // Of a stream.
  void AppendResponse(const char* type, Json response, std::string& events);
  void AppendPiece(AnswerPiece piece, std::string& events);
  void AppendItemBegin(std::string& events);
  void AppendItemEnd(const char* status, std::string& events);
  // With `fields`, the event says of the last item. Numbers events.
  void AppendItemEvent(const char* type, Json fields, std::string& events);

  const ServedModel& model_;
  ResponseStore* const store_;  // Null: it is not to be stored.
  const std::string id_;
  const std::string key_;  // In the store.
  const int64_t created_at_;
  const Json settings_;
  const std::string request_items_;  // See ResponseRequest.
  ResponseDelta whole_;              // All of it, where it is collected; of a stream, what its end tells.
  TextLogprobs logprobs_;
  bool begun_ = false;
  int num_events_ = 0;
  std::vector<Item> items_;  // A stream's so far.
};

}  // namespace quire
