#include "server/request_log.h"

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "spdlog/spdlog.h"

namespace quire {

void LogRequestEnd(const RequestContext& context, const SequenceOutput& last) {
  // What a server in good health says thousands of times is for debugging; what went wrong is for the operator.
  const bool expected = last.status.ok() || absl::IsCancelled(last.status);
  spdlog::log(expected ? spdlog::level::debug : spdlog::level::info,
              "request {}: {} after {:.3f} s; {} prompt tokens ({} cached), {} new; queue {:.3f} s, prefill {:.3f} s, "
              "decode {:.3f} s",
              context.id, absl::StatusCodeToString(last.status.code()),
              absl::ToDoubleSeconds(absl::Now() - context.arrival), last.usage.prompt_tokens, last.usage.cached_tokens,
              last.usage.completion_tokens, absl::ToDoubleSeconds(last.timings.queue),
              absl::ToDoubleSeconds(last.timings.prefill), absl::ToDoubleSeconds(last.timings.decode));
}

}  // namespace quire
