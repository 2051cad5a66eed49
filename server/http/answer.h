// The way of generated text back to an HTTP client, whatever the endpoint: as one response or as server-sent events.
#pragma once

#include <string>
#include <vector>

#include "server/http/generations.h"
#include "server/http/http_exchange.h"
#include "server/http/json.h"

namespace quire {

RequestOrigin OriginOf(const HttpRequest& request);

// How an endpoint puts an answer. Either Collect and Whole are used, or AppendEvents and AppendEnd.
class AnswerFormat {
 public:
  virtual ~AnswerFormat() = default;

  virtual void Collect(GenerationDelta news) = 0;
  // Once everything was collected.
  virtual Json Whole() = 0;

  // Adds the events that tell of `news`.
  virtual void AppendEvents(GenerationDelta news, std::string& events) = 0;
  // Adds what comes after the last news.
  virtual void AppendEnd(std::string& events) = 0;
  // Adds the one that tells why a stream ends early. OpenAI's form unless overridden.
  virtual void AppendError(const absl::Status& status, std::string& events);
};

// What OpenAI's streams end with.
inline constexpr char kEndOfEvents[] = "data: [DONE]\n\n";

// Adds "data: <json>" as one event.
void AppendEvent(const Json& json, std::string& events);
// The same with "event: <type>" before it, where the JSON has that type. REQUIRES: it does.
void AppendTypedEvent(const Json& json, std::string& events);

// Responds with an error to a request for generated text of which nothing was started, and takes note of it.
asio::awaitable<void> AnswerRefused(HttpExchange& exchange, ServingPipeline& pipeline, absl::Status status);

// Has `requests` generated and the client told; returns when it was, or is gone. What goes wrong before the first news
// becomes the status of the response, also of a stream's.
asio::awaitable<void> Answer(HttpExchange& exchange, ServingPipeline& pipeline, std::vector<PipelineRequest> requests,
                             bool stream, AnswerFormat& format);

}  // namespace quire
