#include "server/metrics/metrics.h"

#include <prometheus/text_serializer.h>

#include <iterator>
#include <vector>

#include "absl/time/clock.h"

namespace quire {
namespace {

// Codes that say of a request that it could not be run, rather than what became of it.
bool IsRefusal(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kUnimplemented:
    case absl::StatusCode::kResourceExhausted:
      return true;
    default:
      return false;
  }
}

}  // namespace

void Metrics::RequestTaken(Protocol protocol) {
  quire_.RequestCame(protocol);
  quire_.StreamOpened();
}

void Metrics::RequestRefused(Protocol protocol, absl::StatusCode code) {
  quire_.RequestCame(protocol);
  quire_.RequestRefused(code);
}

void Metrics::StepDone(const StepReport& report) {
  vllm_.StepDone(report);
  quire_.StepDone(report);
}

void Metrics::RequestOver(const RequestRecord& record) {
  if (IsRefusal(record.status)) {
    quire_.RequestRefused(record.status);
  } else {
    vllm_.RequestOver(record);
  }
}

std::string Metrics::Render() const {
  std::vector<prometheus::MetricFamily> families = registry_.Collect();
  std::vector<prometheus::MetricFamily> process = ProcessFamilies(ReadProcessStats());
  std::move(process.begin(), process.end(), std::back_inserter(families));
  return prometheus::TextSerializer().Serialize(families);
}

ServerLoad Metrics::Load() {
  return {utilization_.Get(absl::Now()), vllm_.kv_cache_usage(), vllm_.running(), vllm_.waiting()};
}

}  // namespace quire
