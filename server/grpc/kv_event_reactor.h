// KvEventReactor: one call that streams page events, whatever protocol it speaks.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "server/kv_events.h"
#include "server/serving_pipeline.h"

namespace quire {

// Owns itself until gRPC is done with it. One message in flight at most; the next is made of the log when that is
// written, so that a client which does not read costs what it has not been sent of its snapshot, and nothing more as
// time goes by. Once it has missed something its call ends with DATA_LOSS.
//
// `Format` makes a protocol's messages, and says what of the cache they tell:
//   Message                                             what the call streams;
//   uint64_t first_sequence() const                     the number that the client begins with, see Start;
//   bool Concerns(const PageEvent&) const               whether the client is told of a page;
//   Message MakeMessage(const KvEventBatch&) const
//   Message MakeMessage(const KvSnapshot&, size_t index) const
template <typename Format>
class KvEventReactor final : public grpc::ServerWriteReactor<typename Format::Message>,
                             public KvEventReader,
                             public std::enable_shared_from_this<KvEventReactor<Format>> {
 public:
  // Number 0 begins with a snapshot of what there is. Another one is that of the last batch that the client has: it is
  // sent again, if it is kept, and all that follow; OUT_OF_RANGE when some of those are not kept. The call ends with
  // `allowed` where that is an error.
  static KvEventReactor* Start(grpc::CallbackServerContext* context, ServingPipeline& pipeline,
                               const absl::Status& allowed, Format format);

  void OnKvEvents() override;
  void OnSendInitialMetadataDone(bool ok) override { OnWriteDone(ok); }
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

 private:
  KvEventReactor(grpc::CallbackServerContext* context, ServingPipeline& pipeline, Format format)
      : context_(context), pipeline_(pipeline), format_(std::move(format)) {}

  absl::Status Begin(uint64_t sequence);
  void TakeSnapshot(std::vector<PageEvent> pages, uint64_t sequence);

  // All that follow: with the lock held, except for what Act does last, after which this may be gone.
  bool HasMissedSomething() const;
  bool PrepareMessage();
  bool PrepareBatch();
  void Act(std::unique_lock<std::mutex> lock);

  grpc::CallbackServerContext* const context_;
  ServingPipeline& pipeline_;
  const Format format_;
  std::shared_ptr<KvEventReactor> self_;  // Until OnDone.

  std::mutex mutex_;
  std::optional<KvSnapshot> snapshot_;  // Not all sent yet, from this part on:
  size_t next_chunk_ = 0;
  std::optional<uint64_t> next_sequence_;  // Of the batch after the last one sent. None before there is a snapshot.
  bool writing_ = false;
  bool finished_ = false;
  bool done_ = false;    // `context_` is no more.
  absl::Status status_;  // Not OK once the call is to end.

  typename Format::Message current_;  // Belongs to gRPC while a write is in flight.
};

}  // namespace quire
