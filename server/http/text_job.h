// Work that is proportional to a text's length, awaited from the HTTP thread while the text worker does it.
#pragma once

#include <exception>
#include <memory>
#include <optional>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "server/http/http_exchange.h"
#include "server/http/wakeup.h"
#include "server/serving_pipeline.h"
#include "server/status_details.h"

namespace quire {

// Owns what it uses, or that outlives the server.
template <typename T>
using TextJob = absl::AnyInvocable<absl::StatusOr<T>()>;

// What `job` returns; RESOURCE_EXHAUSTED when too many wait.
template <typename T>
asio::awaitable<absl::StatusOr<T>> RunOnTextWorker(HttpExchange& exchange, ServingPipeline& pipeline, TextJob<T> job) {
  auto done = Wakeup::Make(exchange.executor());
  auto result = std::make_shared<std::optional<absl::StatusOr<T>>>();  // The worker's until `done`.
  const absl::Cleanup close = [&done] { done->Close(); };
  const bool posted = pipeline.TryPostText([done, result, job = std::move(job)]() mutable {
    try {
      *result = job();
    } catch (const std::exception& error) {  // Of the libraries that read text.
      *result = absl::InternalError(absl::StrCat("reading the text failed: ", error.what()));
    }
    done->Notify();
  });
  if (!posted) co_return TryAgainLater("too many texts wait to be read");
  co_await done->Wait();
  co_return *std::move(*result);
}

}  // namespace quire
