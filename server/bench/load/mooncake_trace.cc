#include "server/bench/load/mooncake_trace.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "engine/types/status_macros.h"

namespace quire {
namespace {

using nlohmann::json;

constexpr int kMaxTokens = 1 << 24;
constexpr double kMaxTimestampMs = 1e12;

absl::StatusOr<double> NumberIn(const json& object, const char* field, double min, double max) {
  const auto member = object.find(field);
  if (member == object.end() || !member->is_number()) {
    return absl::InvalidArgumentError(absl::StrCat(field, " must be a number"));
  }
  const double number = member->get<double>();
  if (!(number >= min && number <= max)) {
    return absl::InvalidArgumentError(absl::StrCat(field, " must be from ", min, " to ", max, ", got ", number));
  }
  return number;
}

absl::Status ReadHashIds(const json& object, std::vector<uint64_t>* hash_ids) {
  const auto member = object.find("hash_ids");
  if (member == object.end()) return absl::OkStatus();
  if (!member->is_array()) return absl::InvalidArgumentError("hash_ids must be an array");
  for (const json& id : *member) {
    if (!id.is_number_unsigned()) return absl::InvalidArgumentError("hash_ids must be whole numbers from 0");
    hash_ids->push_back(id.get<uint64_t>());
  }
  return absl::OkStatus();
}

absl::StatusOr<TraceRequest> ParseLine(const std::string& line) {
  const json object = json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) return absl::InvalidArgumentError("not a JSON object");
  TraceRequest request;
  ASSIGN_OR_RETURN(request.timestamp_ms, NumberIn(object, "timestamp", 0, kMaxTimestampMs));
  ASSIGN_OR_RETURN(const double input_tokens, NumberIn(object, "input_length", 1, kMaxTokens));
  ASSIGN_OR_RETURN(const double output_tokens, NumberIn(object, "output_length", 1, kMaxTokens));
  request.input_tokens = static_cast<int>(input_tokens);
  request.output_tokens = static_cast<int>(output_tokens);
  RETURN_IF_ERROR(ReadHashIds(object, &request.hash_ids));
  return request;
}

}  // namespace

absl::StatusOr<std::vector<TraceRequest>> ReadMooncakeTrace(std::istream& file, int max_requests) {
  std::vector<TraceRequest> requests;
  std::string line;
  for (int number = 1; static_cast<int>(requests.size()) < max_requests && std::getline(file, line); ++number) {
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    absl::StatusOr<TraceRequest> request = ParseLine(line);
    if (!request.ok()) {
      return absl::InvalidArgumentError(absl::StrCat("line ", number, ": ", request.status().message()));
    }
    requests.push_back(*std::move(request));
  }
  if (requests.empty()) return absl::InvalidArgumentError("has no requests");
  std::stable_sort(requests.begin(), requests.end(),
                   [](const TraceRequest& a, const TraceRequest& b) { return a.timestamp_ms < b.timestamp_ms; });
  return requests;
}

}  // namespace quire
