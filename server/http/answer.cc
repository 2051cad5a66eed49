#include "server/http/answer.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/http/http_errors.h"

namespace quire {
namespace {

asio::awaitable<void> AnswerWhole(HttpExchange& exchange, Generations& generations, AnswerFormat& format) {
  while (!generations.over()) {
    absl::StatusOr<std::vector<GenerationDelta>> news = co_await generations.Next();
    if (exchange.disconnected()) co_return;
    if (!news.ok()) {
      HttpResponse error = ErrorResponse(news.status(), ErrorFormOf(exchange.request()));
      co_await exchange.Respond(std::move(error));
      co_return;
    }
    for (GenerationDelta& item : *news) format.Collect(std::move(item));
  }
  HttpResponse response = JsonResponse(format.Whole());
  co_await exchange.Respond(std::move(response));
}

asio::awaitable<void> AnswerInEvents(HttpExchange& exchange, Generations& generations, AnswerFormat& format) {
  bool begun = false;
  while (!generations.over()) {
    absl::StatusOr<std::vector<GenerationDelta>> news = co_await generations.Next();
    if (exchange.disconnected()) co_return;
    std::string events;
    if (!news.ok() && !begun) {
      HttpResponse error = ErrorResponse(news.status(), ErrorFormOf(exchange.request()));
      co_await exchange.Respond(std::move(error));
      co_return;
    }
    if (!news.ok()) {
      format.AppendError(news.status(), events);
      co_await exchange.SendEvents(std::move(events));
      co_return;
    }
    for (GenerationDelta& item : *news) format.AppendEvents(std::move(item), events);
    if (generations.over()) format.AppendEnd(events);
    if (!std::exchange(begun, true)) co_await exchange.BeginEvents();
    co_await exchange.SendEvents(std::move(events));
  }
  co_await exchange.EndEvents();
}

}  // namespace

void AnswerFormat::AppendError(const absl::Status& status, std::string& events) {
  AppendEvent(ErrorBody(status), events);
}

RequestOrigin OriginOf(const HttpRequest& request) {
  RequestOrigin origin = MakeOrigin(Protocol::kHttp, request.id, request.Header("traceparent"));
  origin.tenant = request.tenant;
  return origin;
}

void AppendTypedEvent(const Json& json, std::string& events) {
  absl::StrAppend(&events, "event: ", json["type"].get_ref<const std::string&>(), "\n");
  AppendEvent(json, events);
}

void AppendEvent(const Json& json, std::string& events) { absl::StrAppend(&events, "data: ", ToText(json), "\n\n"); }

asio::awaitable<void> AnswerRefused(HttpExchange& exchange, ServingPipeline& pipeline, absl::Status status) {
  pipeline.Refuse(OriginOf(exchange.request()), status);
  HttpResponse error = ErrorResponse(status, ErrorFormOf(exchange.request()));
  co_await exchange.Respond(std::move(error));
}

asio::awaitable<void> Answer(HttpExchange& exchange, ServingPipeline& pipeline, std::vector<PipelineRequest> requests,
                             bool stream, AnswerFormat& format) {
  Generations generations(pipeline, exchange.executor());
  for (PipelineRequest& request : requests) {
    request.origin = OriginOf(exchange.request());
    const absl::Status status = generations.Start(std::move(request));
    if (status.ok()) continue;
    HttpResponse error = ErrorResponse(status, ErrorFormOf(exchange.request()));
    co_await exchange.Respond(std::move(error));
    co_return;
  }
  exchange.Watch([&generations] { generations.Cancel(); });
  if (stream) {
    co_await AnswerInEvents(exchange, generations, format);
  } else {
    co_await AnswerWhole(exchange, generations, format);
  }
}

}  // namespace quire
