#include "server/request_log.h"

#include <signal.h>
#include <spdlog/async.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"

namespace quire {
namespace {

using Json = nlohmann::ordered_json;

double Seconds(absl::Duration time) { return absl::ToDoubleSeconds(absl::Trunc(time, absl::Microseconds(1))); }

Json ToJson(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kNone:
      return nullptr;
  }
  return nullptr;
}

std::shared_ptr<spdlog::sinks::sink> OpenSink(const std::string& destination) {
  if (destination == "-") return std::make_shared<spdlog::sinks::stdout_sink_mt>();
  return std::make_shared<spdlog::sinks::basic_file_sink_mt>(destination);
}

}  // namespace

absl::StatusOr<std::unique_ptr<RequestLog>> RequestLog::Open(const std::string& destination,
                                                             const std::string& model_name) {
  std::unique_ptr<RequestLog> log(new RequestLog);
  log->model_name_ = model_name;
  // A reader of standard output that goes away must not take the server with it.
  signal(SIGPIPE, SIG_IGN);
  try {
    const std::shared_ptr<spdlog::sinks::sink> sink = OpenSink(destination);
    log->thread_ = std::make_shared<spdlog::details::thread_pool>(kMaxWaitingLines, 1);
    log->lines_ = std::make_shared<spdlog::async_logger>("requests", sink, log->thread_,
                                                         spdlog::async_overflow_policy::overrun_oldest);
  } catch (const spdlog::spdlog_ex& error) {
    return absl::InvalidArgumentError(absl::StrCat("--request-log: ", error.what()));
  }
  log->lines_->set_pattern("%v");
  log->lines_->flush_on(spdlog::level::info);
  return log;
}

RequestLog::~RequestLog() {
  if (thread_ == nullptr) return;
  if (const size_t lost = thread_->overrun_counter(); lost > 0) {
    spdlog::warn("the request log could not keep up: {} lines were lost", lost);
  }
}

void RequestLog::Write(const RequestRecord& record, absl::Time now) {
  lines_->log(spdlog::level::info, RequestLogLine(record, model_name_, now));
}

std::string RequestLogLine(const RequestRecord& record, const std::string& model_name, absl::Time now) {
  Json line;
  line["time"] = absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", now, absl::UTCTimeZone());
  line["request_id"] = record.origin.request_id;
  if (!record.origin.traceparent.empty()) line["traceparent"] = record.origin.traceparent;
  if (record.origin.tenant != nullptr) line["tenant"] = record.origin.tenant->name;
  line["protocol"] = ToString(record.origin.protocol);
  line["model"] = model_name;
  line["status"] = absl::StatusCodeToString(record.status);
  line["finish_reasons"] = Json::array();
  for (const FinishReason reason : record.finish_reasons) line["finish_reasons"].push_back(ToJson(reason));
  line["n"] = record.num_samples;
  if (record.max_tokens > 0) line["max_tokens"] = record.max_tokens;
  line["prompt_tokens"] = record.usage.prompt_tokens;
  line["cached_tokens"] = record.usage.cached_tokens;
  if (record.usage.cached_tokens_host > 0) line["cached_tokens_host"] = record.usage.cached_tokens_host;
  if (record.usage.cached_tokens_disk > 0) line["cached_tokens_disk"] = record.usage.cached_tokens_disk;
  line["completion_tokens"] = record.usage.completion_tokens;
  line["queue_s"] = Seconds(record.timings.queue);
  line["prefill_s"] = Seconds(record.timings.prefill);
  line["decode_s"] = Seconds(record.timings.decode);
  if (record.first_token.has_value()) line["first_token_s"] = Seconds(*record.first_token);
  line["latency_s"] = Seconds(record.latency);
  // A model's name may be that of a file, and so may hold any bytes.
  return line.dump(-1, ' ', false, Json::error_handler_t::replace);
}

void LogRequestEnd(const RequestRecord& record) {
  // What a server in good health says thousands of times is for debugging; what went wrong is for the operator.
  const bool expected = record.status == absl::StatusCode::kOk || record.status == absl::StatusCode::kCancelled;
  const std::string trace =
      record.origin.traceparent.empty() ? "" : absl::StrCat(" (trace ", record.origin.traceparent, ")");
  spdlog::log(
      expected ? spdlog::level::debug : spdlog::level::info,
      "request {}{}: {} after {:.3f} s; {} prompt tokens ({} cached), {} new; queue {:.3f} s, prefill {:.3f} s, "
      "decode {:.3f} s",
      record.origin.request_id, trace, absl::StatusCodeToString(record.status), Seconds(record.latency),
      record.usage.prompt_tokens, record.usage.cached_tokens, record.usage.completion_tokens,
      Seconds(record.timings.queue), Seconds(record.timings.prefill), Seconds(record.timings.decode));
}

}  // namespace quire
