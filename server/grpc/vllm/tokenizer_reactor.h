// TokenizerReactor: one GetTokenizer call.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>

#include "server/serving_pipeline.h"
#include "server/tokenizer_bundle.h"
#include "smg/common.pb.h"

namespace quire {

// Sends the archive in pieces, one at a time, and deletes itself when gRPC is done with it.
class TokenizerReactor final : public grpc::ServerWriteReactor<::smg::grpc::common::GetTokenizerChunk> {
 public:
  using Message = ::smg::grpc::common::GetTokenizerChunk;

  // `bundle` and `pipeline` outlive the call.
  static TokenizerReactor* Start(grpc::CallbackServerContext* context, ServingPipeline& pipeline,
                                 TokenizerBundle& bundle);

  void OnWriteDone(bool ok) override;
  void OnDone() override { delete this; }

 private:
  static constexpr size_t kChunkBytes = 64 << 10;

  ~TokenizerReactor() override = default;
  void SendNext();

  std::shared_ptr<const TokenizerBundle::Archive> archive_;
  size_t sent_ = 0;  // Bytes.
  Message current_;  // Belongs to gRPC while a write is in flight.
};

}  // namespace quire
