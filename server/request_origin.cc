#include "server/request_origin.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "server/request_checks.h"

namespace quire {
namespace {

constexpr size_t kMaxRequestIdBytes = 128;
// A later version's traceparent may be longer than this one's.
constexpr size_t kMaxTraceparentBytes = 256;

bool IsLowerHex(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return absl::ascii_isdigit(c) || (c >= 'a' && c <= 'f'); });
}

bool IsAllZero(std::string_view text) { return text.find_first_not_of('0') == std::string_view::npos; }

// It is echoed in headers and written into logs: printable ASCII only.
bool IsRequestId(std::string_view id) {
  return !id.empty() && id.size() <= kMaxRequestIdBytes &&
         std::all_of(id.begin(), id.end(), [](char c) { return absl::ascii_isgraph(c); });
}

}  // namespace

std::string_view ToString(Protocol protocol) {
  switch (protocol) {
    case Protocol::kQuire:
      return "quire";
    case Protocol::kKserve:
      return "kserve";
    case Protocol::kVllm:
      return "vllm";
    case Protocol::kHttp:
      return "http";
  }
  return "";
}

RequestOrigin MakeOrigin(Protocol protocol, std::string_view request_id, std::string_view traceparent) {
  RequestOrigin origin;
  origin.protocol = protocol;
  origin.request_id = RequestIdFor(request_id);
  if (IsTraceparent(traceparent)) origin.traceparent = traceparent;
  return origin;
}

std::string RequestIdFor(std::string_view sent) {
  if (IsRequestId(sent)) return std::string(sent);
  return absl::StrCat(absl::Hex(DrawSeed(), absl::kZeroPad16), absl::Hex(DrawSeed(), absl::kZeroPad16));
}

bool IsTraceparent(std::string_view value) {
  // "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
  if (value.size() < 55 || value.size() > kMaxTraceparentBytes) return false;
  if (value[2] != '-' || value[35] != '-' || value[52] != '-') return false;
  const std::string_view version = value.substr(0, 2), trace_id = value.substr(3, 32), parent_id = value.substr(36, 16);
  if (!IsLowerHex(version) || !IsLowerHex(trace_id) || !IsLowerHex(parent_id) || !IsLowerHex(value.substr(53, 2))) {
    return false;
  }
  if (version == "ff" || IsAllZero(trace_id) || IsAllZero(parent_id)) return false;
  if (value.size() == 55) return true;
  return version != "00" && value[55] == '-' &&
         std::all_of(value.begin(), value.end(), [](char c) { return absl::ascii_isgraph(c); });
}

}  // namespace quire
