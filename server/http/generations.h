// Generations: the pipeline requests behind one HTTP request, and what has become of them, for a coroutine.
#pragma once

#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/http/asio.h"
#include "server/serving_pipeline.h"

namespace quire {

// News of one sample of one of the requests.
struct GenerationDelta {
  int request = 0;  // In the order of Start.
  ResponseDelta delta;
};

// Adds to `to` what came after it, of the same sample.
void Append(ResponseDelta& to, ResponseDelta from);

// The text and the calls in their order, also where calls were not looked for.
std::vector<AnswerPiece> PiecesOf(const ResponseDelta& delta);

// All calls on the HTTP thread. What the coroutine has not taken is merged, one delta for each sample, so that the
// stream thread never waits for a client. A coroutine that writes while more than kMaxPendingBytes pile up has a client
// that does not read: its requests end.
class Generations {
 public:
  static constexpr size_t kMaxPendingBytes = 64 << 10;

  // `pipeline` outlives every request.
  Generations(ServingPipeline& pipeline, asio::any_io_executor executor);
  // Cancels what still runs.
  ~Generations();
  Generations(const Generations&) = delete;
  Generations& operator=(const Generations&) = delete;

  // See ServingPipeline::Start.
  absl::Status Start(PipelineRequest request);
  // All requests end within one step.
  void Cancel();

  // Waits for news; what has come, oldest first. The status of the first request that failed ends it all.
  // REQUIRES: !over().
  asio::awaitable<absl::StatusOr<std::vector<GenerationDelta>>> Next();
  // Next has returned everything.
  bool over() const { return num_running_ == 0; }

 private:
  class Shared;
  class Sink;

  ServingPipeline& pipeline_;
  const std::shared_ptr<Shared> shared_;
  int num_started_ = 0;
  int num_running_ = 0;  // Whose last delta Next has not returned.
};

}  // namespace quire
