// Whatever `quire bench serve` reads: traces, conversations, and what a server streams. Any bytes give a result or an
// error, and an event stream reads the same however it is cut.
#include <sstream>
#include <string>
#include <vector>

#include "kernels/check.h"
#include "server/bench/load/mooncake_trace.h"
#include "server/bench/load/openai_client.h"
#include "server/bench/load/sharegpt.h"
#include "server/bench/load/sse_parser.h"

namespace quire {
namespace {

void ReadTrace(const std::string& text) {
  std::istringstream file(text);
  const auto trace = ReadMooncakeTrace(file, 1000);
  if (!trace.ok()) return;
  double last = 0;
  for (const TraceRequest& request : *trace) {
    QUIRE_CHECK(request.timestamp_ms >= last && request.input_tokens > 0 && request.output_tokens > 0);
    last = request.timestamp_ms;
  }
}

void ReadConversations(const std::string& text) {
  std::istringstream file(text);
  const auto conversations = ReadShareGpt(file, 3);
  if (!conversations.ok()) return;
  for (const auto& turns : *conversations) QUIRE_CHECK(!turns.empty() && turns.size() <= 3);
}

std::vector<std::string> Events(std::string_view bytes, size_t piece) {
  SseParser parser;
  std::vector<std::string> events;
  for (size_t at = 0; at < bytes.size(); at += piece) {
    QUIRE_CHECK(parser.Push(bytes.substr(at, piece), [&](std::string_view data) { events.emplace_back(data); }).ok());
  }
  return events;
}

void ReadStream(const std::string& text, size_t piece) {
  const std::vector<std::string> events = Events(text, piece);
  QUIRE_CHECK(events == Events(text, text.size() + 1));
  for (const std::string& event : events) (void)ParseOpenAiChunk(event);
  (void)ParseOpenAiChunk(text);
  (void)OpenAiErrorMessage(text);
  (void)FirstOpenAiModel(text);
}

}  // namespace
}  // namespace quire

// The first byte chooses the reader, so that a corpus of each kind evolves by itself.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string text(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (data[0] == 'm') quire::ReadTrace(text);
  if (data[0] == 's') quire::ReadConversations(text);
  if (data[0] != 'm' && data[0] != 's') quire::ReadStream(text, 1 + data[0] % 16);
  return 0;
}
