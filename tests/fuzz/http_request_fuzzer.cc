// Any bytes as the body of a request to one of the HTTP endpoints: read, or refused as the client's mistake.
#include <string>

#include "absl/strings/str_cat.h"
#include "kernels/check.h"
#include "server/http/anthropic/message_request.h"
#include "server/http/http_errors.h"
#include "server/http/json.h"
#include "server/http/openai/chat_request.h"
#include "server/http/openai/completion_request.h"
#include "server/http/openai/input_item_list.h"
#include "server/http/openai/response_request.h"
#include "server/http/url.h"
#include "tests/fakes/tiny_tokenizer.h"

namespace quire {
namespace {

const RequestChecks& Checks() {
  static const auto* checks = [] {
    auto* model = new ServedModel;
    model->name = "m";
    model->max_model_len = 64;
    model->tokenizer = MakeTokenizer(TinyTokenizerSpec({}, {})).value().release();
    return new RequestChecks(*model);
  }();
  return *checks;
}

void CheckRefusal(const absl::Status& status) {
  QUIRE_CHECK(absl::IsInvalidArgument(status) || absl::IsNotFound(status));
  // Whatever of the body the message repeats, it is JSON.
  const HttpResponse response = ErrorResponse(status);
  QUIRE_CHECK(response.status == 400 || response.status == 404);
  QUIRE_CHECK(Json::parse(response.body)["error"].contains("message"));
}

// What it keeps of a conversation, the next response goes on with, and clients may list.
void ParseResponse(const Json& json) {
  const auto first = ParseResponseRequest(json, Checks());
  if (!first.ok()) return CheckRefusal(first.status());
  if (!first->store) return;
  ResponseStore store(1 << 20);
  store.Add(ResponseKey("", "r"), {.response = "", .items = first->items, .input_bytes = first->items.size()});
  const auto list = ListInputItems(ParseJson(absl::StrCat("[", first->items, "]")).value(),
                                   ParseInputItemsQuery("limit=100").value());
  QUIRE_CHECK(list.ok() && !(*list)["data"].empty());
  auto next = ParseResponseRequest(Json{{"input", "a"}, {"previous_response_id", "r"}}, Checks());
  next = WithHistory(*std::move(next), store, Checks());
  if (!next.ok()) return CheckRefusal(next.status());
  QUIRE_CHECK(std::get<Conversation>(next->generation.prompt).messages.size() > 1);
}

void Parse(std::string_view body) {
  const absl::StatusOr<Json> json = ParseJsonObject(body);
  if (!json.ok()) return CheckRefusal(json.status());
  QUIRE_CHECK(Json::parse(ToText(*json)) == *json);
  if (const auto chat = ParseChatRequest(*json, Checks()); !chat.ok()) CheckRefusal(chat.status());
  if (const auto completion = ParseCompletionRequest(*json, Checks()); !completion.ok()) {
    CheckRefusal(completion.status());
  }
  if (const auto message = ParseMessageRequest(*json, Checks()); !message.ok()) CheckRefusal(message.status());
  ParseResponse(*json);
}

}  // namespace
}  // namespace quire

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  quire::SplitTarget(bytes);
  if (const auto query = quire::ParseInputItemsQuery(std::string(bytes)); !query.ok()) {
    quire::CheckRefusal(query.status());
  }
  quire::Parse(bytes);
  return 0;
}
