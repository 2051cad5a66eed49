// What an OpenAI-compatible server is asked and how its stream's chunks read.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "server/bench/load/transport.h"

namespace quire {

// "/v1/completions" or "/v1/chat/completions".
std::string OpenAiPath(TransportOptions::Endpoint endpoint);

// The body of a streaming request. A server of OpenAI's own would refuse `ignore_eos`, so it is left out unless wanted.
std::string OpenAiRequestBody(const TransportOptions& options, const std::string& model, const LoadRequest& request);

struct OpenAiChunk {
  std::string text;  // Or reasoning, or a tool call's arguments: whatever the model has written.
  std::optional<StreamUsage> usage;
  std::string error;  // What an error sent within a stream says; empty: none.
};

// INVALID_ARGUMENT for what is no JSON object. Members that are missing or of another type count as not there.
absl::StatusOr<OpenAiChunk> ParseOpenAiChunk(std::string_view data);

// The message in {"error": {"message": ...}}, or the beginning of the body where it is something else.
std::string OpenAiErrorMessage(std::string_view body);

// The first model in the answer to GET /v1/models; empty if there is none.
std::string FirstOpenAiModel(std::string_view body);

}  // namespace quire
