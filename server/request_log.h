// RequestLog: one line of JSON for each request, for whoever bills, audits or looks for what was slow.
//
//   {"time":"2026-01-31T12:00:00.123Z","request_id":"...","traceparent":"...","protocol":"quire","model":"...",
//    "status":"OK","finish_reasons":["stop"],"n":1,"max_tokens":100,"prompt_tokens":12,"cached_tokens":0,
//    "completion_tokens":40,"queue_s":0.0001,"prefill_s":0.021,"decode_s":0.4,"first_token_s":0.023,"latency_s":0.43}
//
// traceparent, tenant, max_tokens and first_token_s are left out where there are none, as are cached_tokens_host and
// cached_tokens_disk, those of the cached tokens that were fetched from a tier. Never a word of a prompt or an answer,
// nor an error's message, which could quote one.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/request_record.h"

namespace spdlog {
class logger;
namespace details {
class thread_pool;
}  // namespace details
}  // namespace spdlog

namespace quire {

class RequestLog {
 public:
  // Lines that may wait for a slow disk; beyond that the oldest are lost, and requests go on.
  static constexpr int kMaxWaitingLines = 8192;

  // `destination` is a file, which is appended to and made with its folders if need be, or "-" for standard output.
  // INVALID_ARGUMENT says why it cannot be written to.
  static absl::StatusOr<std::unique_ptr<RequestLog>> Open(const std::string& destination,
                                                          const std::string& model_name);
  // Writes what waits.
  ~RequestLog();

  // Thread-safe and non-blocking: a thread of its own writes.
  void Write(const RequestRecord& record, absl::Time now);

 private:
  RequestLog() = default;

  std::string model_name_;
  std::shared_ptr<spdlog::details::thread_pool> thread_;
  std::shared_ptr<spdlog::logger> lines_;
};

// The line, without its end.
std::string RequestLogLine(const RequestRecord& record, const std::string& model_name, absl::Time now);

// The same for people, in the server's own log.
void LogRequestEnd(const RequestRecord& record);

}  // namespace quire
