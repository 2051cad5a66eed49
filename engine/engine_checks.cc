// Which options the engine can work with, and which requests it takes on.
#include <algorithm>
#include <limits>

#include "absl/strings/str_cat.h"
#include "engine/engine.h"
#include "engine/types/status_macros.h"

namespace quire {
namespace {

absl::Status CheckEmbedding(const GenerateRequest& request, int max_length) {
  if (static_cast<int64_t>(request.prompt.size()) > max_length) {
    return absl::InvalidArgumentError(
        absl::StrCat("prompt must have at most ", max_length, " tokens, got ", request.prompt.size()));
  }
  const SamplingParams& sampling = request.sampling;
  if (sampling.n != 1 || sampling.logprobs >= 0 || sampling.prompt_logprobs >= 0) {
    return absl::InvalidArgumentError(
        "sampling_params must ask for one sample and no log-probabilities of an embedding");
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status Engine::ValidateOptions(const EngineOptions& options) {
  const auto at_least = [](const char* name, int64_t value, int64_t minimum) {
    if (value >= minimum) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat(name, " must be at least ", minimum, ", got ", value));
  };
  RETURN_IF_ERROR(at_least("vocab_size", options.vocab_size, 1));
  RETURN_IF_ERROR(at_least("num_blocks", options.blocks.num_blocks, 1));
  RETURN_IF_ERROR(at_least("block_size", options.blocks.block_size, 1));
  RETURN_IF_ERROR(at_least("max_model_len", options.max_model_len, 2));
  RETURN_IF_ERROR(at_least("max_num_seqs", options.max_num_seqs, 1));
  RETURN_IF_ERROR(at_least("max_num_batched_tokens", options.max_num_batched_tokens,
                           options.max_num_seqs + options.kv_window.sink_tokens));
  RETURN_IF_ERROR(at_least("pipeline_depth", options.pipeline_depth, 1));
  if (options.pipeline_depth > 2) {
    return absl::InvalidArgumentError(absl::StrCat("pipeline_depth must be at most 2, got ", options.pipeline_depth));
  }
  RETURN_IF_ERROR(at_least("max_waiting_requests", options.max_waiting_requests, 1));
  RETURN_IF_ERROR(at_least("max_waiting_tokens", options.max_waiting_tokens, options.max_model_len));
  if (!(options.max_pinned_share >= 0 && options.max_pinned_share <= 1)) {
    return absl::InvalidArgumentError(
        absl::StrCat("max_pinned_share must be in [0, 1], got ", options.max_pinned_share));
  }
  const int64_t pool = int64_t{options.blocks.num_blocks} * options.blocks.block_size;
  if (pool > std::numeric_limits<int32_t>::max()) {
    return absl::InvalidArgumentError(absl::StrCat("num_blocks x block_size must be below 2^31 tokens, got ", pool));
  }
  RETURN_IF_ERROR(Validate(options.kv_window, options.blocks.block_size));
  if (options.kv_window.bounded()) {
    RETURN_IF_ERROR(at_least("num_blocks x block_size", pool, options.kv_window.capacity()));
    if (options.recompute_always) return absl::InvalidArgumentError("recompute_always needs every token to be kept");
  }
  for (TokenId token : options.eos_token_ids) {
    if (token < 0 || token >= options.vocab_size) {
      return absl::InvalidArgumentError(absl::StrCat("eos_token_ids: ", token, " is not in the vocabulary"));
    }
  }
  return absl::OkStatus();
}

absl::Status Engine::CheckRequest(const GenerateRequest& request, absl::Time now) const {
  const SamplingParams& sampling = request.sampling;
  RETURN_IF_ERROR(Validate(sampling, options_.vocab_size));
  const auto prompt_size = static_cast<int64_t>(request.prompt.size());
  if (prompt_size == 0) return absl::InvalidArgumentError("prompt must have at least one token");
  for (TokenId token : request.prompt) {
    if (token < 0 || token >= options_.vocab_size) {
      return absl::InvalidArgumentError(
          absl::StrCat("prompt: token ids must be in [0, ", options_.vocab_size, "), got ", token));
    }
  }
  if (sampling.n > options_.max_num_seqs) {
    return absl::InvalidArgumentError(
        absl::StrCat("sampling_params.n must be at most ", options_.max_num_seqs, " here, got ", sampling.n));
  }
  const int max_length = MaxSequenceLength(request.tenant);
  if (request.embed) {
    RETURN_IF_ERROR(CheckEmbedding(request, max_length));
  }
  const int64_t room = max_length - prompt_size;
  if (!request.embed && room < 1) {
    return absl::InvalidArgumentError(absl::StrCat("prompt must have at most ", max_length - 1,
                                                   " tokens to leave room for one new token, got ", prompt_size));
  }
  if (!request.embed && sampling.max_tokens > room) {
    return absl::InvalidArgumentError(absl::StrCat("sampling_params.max_tokens must be at most ", room,
                                                   " after a prompt of ", prompt_size, " tokens (", max_length,
                                                   " in all), got ", sampling.max_tokens));
  }
  if (requests_.contains(request.id)) {
    return absl::AlreadyExistsError(absl::StrCat("request ", request.id, " is still alive"));
  }
  RETURN_IF_ERROR(CheckDeadline(request, now));
  RETURN_IF_ERROR(CheckTenant(request));
  const FairQueue& waiting = scheduler_.waiting();
  if (waiting.size() >= options_.max_waiting_requests) {
    return absl::ResourceExhaustedError(absl::StrCat("the queue is full: ", waiting.size(),
                                                     " sequences are waiting, of ", options_.max_waiting_requests,
                                                     " at most"));
  }
  if (waiting.num_tokens() + prompt_size > options_.max_waiting_tokens) {
    return absl::ResourceExhaustedError(absl::StrCat("the queue is full: ", waiting.num_tokens(),
                                                     " tokens are waiting, of ", options_.max_waiting_tokens,
                                                     " at most"));
  }
  return absl::OkStatus();
}

absl::Status Engine::CheckDeadline(const GenerateRequest& request, absl::Time now) const {
  if (request.deadline < now) return absl::DeadlineExceededError("the deadline was past before the request was queued");
  if (request.deadline == absl::InfiniteFuture() || tokens_per_second_ == 0) return absl::OkStatus();
  const bool reuse = request.sampling.prompt_logprobs < 0;
  const int cached = reuse ? blocks_.CountCached(request.prompt, request.cache_salt) : 0;
  const absl::Duration least = absl::Seconds(static_cast<double>(request.prompt.size() - cached) / tokens_per_second_);
  if (now + least <= request.deadline) return absl::OkStatus();
  return absl::DeadlineExceededError(absl::StrCat("the prompt alone takes ", absl::FormatDuration(least),
                                                  " to compute, and the deadline is in ",
                                                  absl::FormatDuration(request.deadline - now)));
}

absl::Status Engine::CheckTenant(const GenerateRequest& request) const {
  const TenantShare& tenant = request.tenant;
  const auto prompt_size = static_cast<int64_t>(request.prompt.size());
  if (tenant.max_queued_tokens == 0) return absl::OkStatus();
  if (prompt_size > tenant.max_queued_tokens) {
    return absl::InvalidArgumentError(absl::StrCat("prompt must have at most ", tenant.max_queued_tokens,
                                                   " tokens, the tenant's max_queued_tokens, got ", prompt_size));
  }
  const TenantAccount* account = scheduler_.waiting().Find(tenant.id);
  const int64_t queued = account == nullptr ? 0 : account->waiting.num_tokens();
  if (queued + prompt_size > tenant.max_queued_tokens) {
    return absl::ResourceExhaustedError(absl::StrCat("the tenant's queue is full: ", queued, " tokens wait, of ",
                                                     tenant.max_queued_tokens, " at most (max_queued_tokens)"));
  }
  return absl::OkStatus();
}

}  // namespace quire
