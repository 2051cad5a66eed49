// Traces of real traffic in the format that Mooncake published: no words, but when requests came, how long they were,
// and which blocks of their prompts were the same.
#pragma once

#include <cstdint>
#include <istream>
#include <vector>

#include "absl/status/statusor.h"

namespace quire {

// Tokens that one hash id stands for.
inline constexpr int kMooncakeBlockTokens = 512;

struct TraceRequest {
  double timestamp_ms = 0;
  int input_tokens = 0;
  int output_tokens = 0;
  // Of each block of the prompt, the last of which may be partial. May be shorter than the prompt: what is beyond is
  // the request's own.
  std::vector<uint64_t> hash_ids;
};

// Reads one JSON object a line, {"timestamp": ms, "input_length": n, "output_length": n, "hash_ids": [...]}, until
// the end or `max_requests`, and sorts them by time. INVALID_ARGUMENT names the line and the field.
absl::StatusOr<std::vector<TraceRequest>> ReadMooncakeTrace(std::istream& file, int max_requests);

}  // namespace quire
