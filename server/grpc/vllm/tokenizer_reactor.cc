#include "server/grpc/vllm/tokenizer_reactor.h"

#include <algorithm>
#include <exception>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/grpc/call_metadata.h"
#include "server/grpc/status_conversion.h"
#include "server/status_details.h"

namespace quire {

TokenizerReactor* TokenizerReactor::Start(grpc::CallbackServerContext* context, ServingPipeline& pipeline,
                                          TokenizerBundle& bundle) {
  auto* reactor = new TokenizerReactor();
  if (const absl::Status allowed = IdentifyCaller(pipeline.tenants(), *context).status(); !allowed.ok()) {
    reactor->Finish(ToGrpcStatus(allowed, *context));
    return reactor;
  }
  const bool posted = pipeline.TryPostText([reactor, context, &bundle] {
    absl::StatusOr<std::shared_ptr<const TokenizerBundle::Archive>> archive;
    try {
      archive = bundle.Get();
    } catch (const std::exception& error) {  // Of the library that writes JSON.
      archive = absl::InternalError(absl::StrCat("packing the tokenizer failed: ", error.what()));
    }
    if (!archive.ok()) return reactor->Finish(ToGrpcStatus(archive.status(), *context));
    reactor->archive_ = *std::move(archive);
    reactor->SendNext();
  });
  if (!posted) reactor->Finish(ToGrpcStatus(TryAgainLater("too many texts wait to be tokenised"), *context));
  return reactor;
}

void TokenizerReactor::OnWriteDone(bool ok) {
  if (!ok) return Finish(grpc::Status::CANCELLED);
  SendNext();
}

void TokenizerReactor::SendNext() {
  const std::string& zip = archive_->zip;
  current_.set_data(zip.substr(sent_, kChunkBytes));
  sent_ = std::min(zip.size(), sent_ + kChunkBytes);
  if (sent_ < zip.size()) return StartWrite(&current_);
  current_.set_sha256(archive_->sha256);
  StartWriteAndFinish(&current_, grpc::WriteOptions(), grpc::Status::OK);
}

}  // namespace quire
