#include "server/bench/load_bench.h"

#include <sys/resource.h>

#include <cmath>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "engine/types/status_macros.h"
#include "server/bench/load/load_generator.h"
#include "server/bench/load/prompt_writer.h"

namespace quire {
namespace {

absl::Status Check(const LoadBenchOptions& options) {
  const bool token_ids = options.transport.prompt_form == PromptForm::kTokenIds;
  if (token_ids && options.transport.endpoint == TransportOptions::Endpoint::kChat) {
    return absl::InvalidArgumentError("--prompt-form: chats are made of text");
  }
  if (token_ids && options.workload.kind == WorkloadOptions::Kind::kShareGpt && !options.workload.path.empty()) {
    return absl::InvalidArgumentError("--prompt-form: ShareGPT's conversations are text");
  }
  if (token_ids && !options.transport.url.empty() && options.workload.turns > 1) {
    return absl::InvalidArgumentError("--prompt-form: answers over HTTP are text, so later turns cannot be token ids");
  }
  if (options.arrivals.ramp != ArrivalOptions::Ramp::kNone && std::isinf(options.arrivals.rate)) {
    return absl::InvalidArgumentError("--request-rate: a ramp must end at a finite rate");
  }
  return absl::OkStatus();
}

PacingOptions PacingOf(const LoadBenchOptions& options, const Workload& workload) {
  PacingOptions pacing;
  pacing.max_concurrency = options.max_concurrency;
  pacing.think_s = options.think_s;
  if (workload.has_start_times) {
    for (const LoadConversation& conversation : workload.conversations) pacing.start_s.push_back(conversation.start_s);
  } else if (options.max_concurrency == 0 || std::isfinite(options.arrivals.rate)) {
    pacing.start_s = DrawArrivals(options.arrivals, static_cast<int>(workload.conversations.size()));
  }
  return pacing;
}

absl::Status WarmUp(const LoadBenchOptions& options, const PromptWriter& writer, Transport& transport) {
  if (options.warmup_conversations == 0) return absl::OkStatus();
  WorkloadOptions other = options.workload;
  other.num_conversations = options.warmup_conversations;
  other.seed = ~options.workload.seed;
  ASSIGN_OR_RETURN(const Workload workload, MakeWorkload(other));
  const LoadRun run = RunLoad(workload, {.max_concurrency = 1}, writer, transport, {});
  for (const LoadRecord& record : run.records) {
    if (record.error_kind.empty()) continue;
    return absl::UnavailableError("a request of the warm-up failed: " + record.error_kind + ": " +
                                  record.error_message);
  }
  return absl::OkStatus();
}

double ProcessorSeconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) { return static_cast<double>(time.tv_sec) + time.tv_usec / 1e6; };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

}  // namespace

absl::StatusOr<LoadReport> RunLoadBench(const LoadBenchOptions& options, const std::function<void(float)>& progress) {
  RETURN_IF_ERROR(Check(options));
  ASSIGN_OR_RETURN(const Workload workload, MakeWorkload(options.workload));
  const bool http = !options.transport.url.empty();
  ASSIGN_OR_RETURN(const std::unique_ptr<Transport> transport,
                   http ? MakeHttpTransport(options.transport) : MakeGrpcTransport(options.transport));
  const PromptWriter writer(options.transport.prompt_form, transport->vocab_size());
  RETURN_IF_ERROR(WarmUp(options, writer, *transport));

  LoadReport report;
  report.server = http ? options.transport.url : options.transport.target;
  report.model = transport->model();
  report.request_rate = options.arrivals.rate;
  report.burstiness = options.arrivals.burstiness;
  report.max_concurrency = options.max_concurrency;
  report.num_prompts = workload.num_requests();
  report.goodput = options.goodput;
  const double processor_before = ProcessorSeconds();
  report.run = RunLoad(workload, PacingOf(options, workload), writer, *transport, progress);
  report.result = Evaluate(report.run, options.goodput);
  report.client_cpu = report.result.PerSecond(ProcessorSeconds() - processor_before);
  return report;
}

}  // namespace quire
