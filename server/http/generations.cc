#include "server/http/generations.h"

#include <algorithm>
#include <iterator>
#include <memory>
#include <mutex>
#include <utility>

#include "server/http/wakeup.h"

namespace quire {
namespace {

size_t BytesOf(const std::vector<TokenLogprob>& logprobs) {
  size_t bytes = logprobs.size() * sizeof(TokenLogprob);
  for (const TokenLogprob& logprob : logprobs) bytes += logprob.top.size() * sizeof(logprob.top[0]);
  return bytes;
}

size_t BytesOf(const std::vector<AnswerPiece>& pieces) {
  size_t bytes = pieces.size() * sizeof(AnswerPiece);
  for (const AnswerPiece& piece : pieces) bytes += piece.text.size();
  return bytes;
}

size_t BytesOf(const ResponseDelta& delta) {
  return delta.text.size() + BytesOf(delta.pieces) + delta.output.tokens.size() * sizeof(TokenId) +
         BytesOf(delta.output.logprobs) + BytesOf(delta.output.prompt_logprobs);
}

template <typename T>
void MoveToEnd(std::vector<T>& to, std::vector<T>& from) {
  to.insert(to.end(), std::make_move_iterator(from.begin()), std::make_move_iterator(from.end()));
}

}  // namespace

void Append(ResponseDelta& to, ResponseDelta from) {
  to.text += from.text;
  if (!from.stop_string.empty()) to.stop_string = std::move(from.stop_string);
  for (AnswerPiece& piece : from.pieces) Append(std::move(piece), to.pieces);
  to.ends_with_calls |= from.ends_with_calls;
  MoveToEnd(to.output.tokens, from.output.tokens);
  MoveToEnd(to.output.logprobs, from.output.logprobs);
  MoveToEnd(to.output.prompt_logprobs, from.output.prompt_logprobs);
  if (from.output.finish_reason != FinishReason::kNone) to.output.finish_reason = from.output.finish_reason;
  if (!from.output.last) return;
  to.output.last = true;
  to.output.status = std::move(from.output.status);
  to.output.usage = from.output.usage;
  to.output.embedding = std::move(from.output.embedding);
  to.output.timings = from.output.timings;
}

std::vector<AnswerPiece> PiecesOf(const ResponseDelta& delta) {
  if (!delta.pieces.empty() || delta.text.empty()) return delta.pieces;
  return {AnswerPiece{.text = delta.text}};
}

// What the stream thread fills and the coroutine empties. Lives until both are done with it, which is when the
// requests' streams are over.
class Generations::Shared {
 public:
  Shared(ServingPipeline& pipeline, const asio::any_io_executor& executor)
      : pipeline_(pipeline), wakeup_(Wakeup::Make(executor)) {}
  ~Shared() {
    for (int i = 0; i < num_started_; ++i) pipeline_.StreamOver();
  }

  Wakeup& wakeup() { return *wakeup_; }

  void Started(RequestContextPtr context) {
    ++num_started_;
    std::lock_guard lock(mutex_);
    contexts_.push_back(std::move(context));
  }

  void Cancel() {
    std::lock_guard lock(mutex_);
    CancelLocked();
  }

  // Stream thread.
  void Add(GenerationDelta news) {
    std::lock_guard lock(mutex_);
    if (pending_bytes_ > kMaxPendingBytes && !awaited_ && !unread_) {
      unread_ = true;
      CancelLocked();
    }
    if (unread_) {
      // Only that it is over still matters.
      pending_.clear();
      pending_bytes_ = 0;
      if (!news.delta.output.last) return;
      news.delta.output.status = absl::ResourceExhaustedError("the client does not read");
    }
    pending_bytes_ += BytesOf(news.delta);
    Merge(std::move(news));
    wakeup_->Notify();
  }

  // What has come. Nothing: the coroutine will wait for it.
  std::vector<GenerationDelta> Take() {
    std::lock_guard lock(mutex_);
    awaited_ = pending_.empty();
    pending_bytes_ = 0;
    return std::exchange(pending_, {});
  }

 private:
  void CancelLocked() {
    for (const RequestContextPtr& context : contexts_) pipeline_.Cancel(*context);
  }

  void Merge(GenerationDelta news) {
    const auto same = std::find_if(pending_.begin(), pending_.end(), [&news](const GenerationDelta& earlier) {
      return earlier.request == news.request && earlier.delta.output.index == news.delta.output.index;
    });
    if (same == pending_.end()) {
      pending_.push_back(std::move(news));
    } else {
      Append(same->delta, std::move(news.delta));
    }
  }

  ServingPipeline& pipeline_;
  const std::shared_ptr<Wakeup> wakeup_;
  int num_started_ = 0;  // The HTTP thread's, until it has let go.

  std::mutex mutex_;
  std::vector<RequestContextPtr> contexts_;
  std::vector<GenerationDelta> pending_;
  size_t pending_bytes_ = 0;
  bool awaited_ = false;  // The coroutine waits for news.
  bool unread_ = false;   // Too much piled up.
};

// Deletes itself with the last delta.
class Generations::Sink final : public ResponseSink {
 public:
  Sink(std::shared_ptr<Shared> shared, int request) : shared_(std::move(shared)), request_(request) {}

  void Deliver(ResponseDelta delta) override {
    const bool last = delta.output.last;
    shared_->Add({request_, std::move(delta)});
    if (last) delete this;
  }

 private:
  const std::shared_ptr<Shared> shared_;
  const int request_;
};

Generations::Generations(ServingPipeline& pipeline, asio::any_io_executor executor)
    : pipeline_(pipeline), shared_(std::make_shared<Shared>(pipeline, executor)) {}

Generations::~Generations() {
  shared_->wakeup().Close();
  if (num_running_ > 0) Cancel();
}

void Generations::Cancel() { shared_->Cancel(); }

absl::Status Generations::Start(PipelineRequest request) {
  auto sink = std::make_unique<Sink>(shared_, num_started_);
  absl::StatusOr<RequestContextPtr> context = pipeline_.Start(std::move(request), sink.get());
  if (!context.ok()) return context.status();
  sink.release();
  shared_->Started(*std::move(context));
  ++num_started_;
  ++num_running_;
  return absl::OkStatus();
}

asio::awaitable<absl::StatusOr<std::vector<GenerationDelta>>> Generations::Next() {
  std::vector<GenerationDelta> news = shared_->Take();
  while (news.empty()) {
    co_await shared_->wakeup().Wait();
    news = shared_->Take();
  }
  for (const GenerationDelta& item : news) {
    if (!item.delta.output.last) continue;
    --num_running_;
    if (!item.delta.output.status.ok()) co_return item.delta.output.status;
  }
  co_return news;
}

}  // namespace quire
