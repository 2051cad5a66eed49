// RequestOrigin: where a request came from, whose it is, and by which names others know it. Logs and metrics tell of
// it; what the request gets back does not depend on it, only when it does.
#pragma once

#include <string>
#include <string_view>

#include "server/tenants/tenant.h"

namespace quire {

// What a client speaks.
enum class Protocol {
  kQuire,   // quire.v1, over gRPC.
  kKserve,  // The Open Inference Protocol, over gRPC.
  kVllm,    // vllm.grpc.engine, over gRPC.
  kHttp,    // OpenAI's API, and what others speak over HTTP.
};
inline constexpr Protocol kAllProtocols[] = {Protocol::kQuire, Protocol::kKserve, Protocol::kVllm, Protocol::kHttp};

// As in labels and logs.
std::string_view ToString(Protocol protocol);

struct RequestOrigin {
  Protocol protocol = Protocol::kQuire;
  std::string request_id;   // The client's own (x-request-id), or one made for it.
  std::string traceparent;  // W3C Trace Context, as it came; empty where there was none, or no valid one.
  TenantPtr tenant = nullptr;  // Set once the front has identified it.
};

// `request_id` and `traceparent` are what a client sent, empty where it sent nothing. What cannot be used is treated as
// absent, as Trace Context demands: a request is never refused for it.
RequestOrigin MakeOrigin(Protocol protocol, std::string_view request_id, std::string_view traceparent);

// The request id alone, as MakeOrigin takes or makes it.
std::string RequestIdFor(std::string_view sent);

// Whether `value` is a traceparent: version, 16 bytes of trace id, 8 of parent id, flags, in lower-case hexadecimal.
// Later versions may have more behind it.
bool IsTraceparent(std::string_view value);

}  // namespace quire
