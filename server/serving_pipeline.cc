#include "server/serving_pipeline.h"

#include <algorithm>
#include <exception>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "engine/types/status_macros.h"
#include "server/request_checks.h"
#include "server/sessions/session_request.h"
#include "server/status_details.h"
#include "server/tenants/cache_salt.h"

namespace quire {
namespace {

// Tokenize and Detokenize calls that may wait.
constexpr size_t kMaxWaitingTextJobs = 256;
// Output formats that may wait to be compiled, each for half a second at most.
constexpr size_t kMaxWaitingFormats = 64;

std::string FieldOfPrompt(const PipelineRequest& request) {
  if (!request.prompt_field.empty()) return request.prompt_field;
  return std::holds_alternative<Conversation>(request.prompt) ? "messages" : "text";
}

// A conversation needs a template.
absl::Status CheckTemplate(const ServedModel& model, const Prompt& prompt) {
  if (!std::holds_alternative<Conversation>(prompt) || model.chat_template != nullptr) return absl::OkStatus();
  return WithReason(absl::FailedPreconditionError(
                        absl::StrCat("model \"", model.name, "\" cannot chat: ", model.chat_template_error)),
                    "NO_CHAT_TEMPLATE");
}

// Control tokens whose names are parts of what marks calls in the model's own form.
std::vector<TokenId> MarkerTokens(const ServedModel& model) {
  std::vector<TokenId> tokens;
  if (model.call_syntax == nullptr) return tokens;
  const Tokenizer& tokenizer = *model.tokenizer;
  const CallSyntax& syntax = *model.call_syntax;
  const auto marks = [&](std::string_view name) {
    const auto has_name = [&](std::string_view marker) { return marker.find(name) != std::string_view::npos; };
    return std::any_of(syntax.openers.begin(), syntax.openers.end(), has_name) ||
           std::any_of(syntax.closers.begin(), syntax.closers.end(), has_name);
  };
  for (TokenId token = 0; token < tokenizer.vocab_size(); ++token) {
    if (!tokenizer.TokenBytes(token, /*keep_special=*/false).empty()) continue;
    const std::string_view name = tokenizer.TokenBytes(token, /*keep_special=*/true);
    if (!name.empty() && marks(name)) tokens.push_back(token);
  }
  return tokens;
}

int PagesOf(double share, const CacheConfig& cache) {
  return std::max(1, static_cast<int>(share * static_cast<double>(cache.num_blocks)));
}

TenantShare ShareOf(const Tenant& tenant, uint64_t id, const CacheConfig& cache) {
  TenantShare share{.id = id, .weight = tenant.weight, .max_queued_tokens = tenant.limits.max_queued_tokens};
  if (tenant.limits.max_page_share < 1) share.max_pages = PagesOf(tenant.limits.max_page_share, cache);
  return share;
}

}  // namespace

ServingPipeline::ServingPipeline(ServedModel model, Engine& engine, int max_requests, std::function<void()> device_lost,
                                 std::unique_ptr<RequestLog> request_log, TenantDirectory tenants)
    : model_(std::move(model)),
      marker_tokens_(MarkerTokens(model_)),
      device_lost_(std::move(device_lost)),
      tenants_(std::move(tenants)),
      ledger_(tenants_.has_several() ? max_requests : 0),
      admission_(max_requests),
      metrics_({model_.name, model_.architecture, model_.max_model_len, model_.cache}),
      request_log_(std::move(request_log)),
      kv_events_(absl::Now()),
      sessions_(model_.sessions,
                [this](uint64_t owner, LeaseId lease) {
                  // Where too much waits for the engine, the lease ends by itself, when its session would have.
                  engine_thread_.TryRun(
                      [owner, lease](Engine& e) { e.Unpin(owner, lease, absl::Now()).IgnoreError(); });
                }),
      stream_thread_(*model_.tokenizer, metrics_,
                     {.finish_sample = [this](RequestId id, int index) { engine_thread_.FinishSample(id, index); },
                      .request_over = [this](const RequestRecord& record) { RequestOver(record); }}),
      engine_thread_(engine, stream_thread_,
                     {.retry_delay = [this] { return admission_.RetryDelay(); },
                      .device_lost =
                          [this] {
                            admission_.Close();
                            device_lost_();
                          },
                      .page_events = [this](std::vector<PageEvent> events) { Publish(std::move(events)); }}),
      text_worker_(kMaxWaitingTextJobs),
      grammars_(*model_.tokenizer),
      grammar_worker_(kMaxWaitingFormats) {}

ServingPipeline::~ServingPipeline() = default;

absl::StatusOr<std::shared_ptr<SessionRequest>> ServingPipeline::EnterSession(const PipelineRequest& request,
                                                                              ResponseSink* sink, absl::Time now) {
  if (request.session_id.empty()) return nullptr;
  if (request.generate.sampling.n != 1) return InvalidField("sampling_params.n", "must be 1 in a session");
  const uint64_t owner = CacheSaltOf(*request.origin.tenant);
  ASSIGN_OR_RETURN(SessionTurn turn, sessions_.BeginTurn(owner, request.session_id, now));
  return std::make_shared<SessionRequest>(sessions_, std::move(turn), *model_.tokenizer, model_.chat_template, sink);
}

uint64_t ServingPipeline::CacheSaltOf(const Tenant& tenant) const {
  return CacheSalt(model_.fingerprint, tenant.name);
}

LeaseLimits ServingPipeline::LeaseLimitsOf(const Tenant& tenant) const {
  LeaseLimits limits;
  if (tenant.limits.max_leases > 0) limits.max_leases = tenant.limits.max_leases;
  if (tenant.limits.max_pinned_share < 1) {
    limits.max_pinned_blocks = PagesOf(tenant.limits.max_pinned_share, model_.cache);
  }
  return limits;
}

absl::Status ServingPipeline::Admit(PipelineRequest& request, ResponseSink* sink, absl::Time now,
                                    std::shared_ptr<SessionRequest>& session) {
  TenantPtr& tenant = request.origin.tenant;
  if (tenant == nullptr) {
    // No front leaves it to this place to find out, where keys are required: then this refuses.
    ASSIGN_OR_RETURN(tenant, tenants_.Identify({}));
  }
  RETURN_IF_ERROR(CheckTemplate(model_, request.prompt));
  const int min_priority = tenant->limits.min_priority;
  if (request.generate.priority < min_priority) {
    return InvalidField("priority", absl::StrCat("must be at least ", min_priority, " for tenant ", tenant->name,
                                                 ", got ", request.generate.priority));
  }
  ASSIGN_OR_RETURN(session, EnterSession(request, sink, now));
  RETURN_IF_ERROR(ledger_.Admit(*tenant, now, admission_.RetryDelay()));
  absl::Status status = admission_.Admit(now);
  if (!status.ok()) ledger_.Withdraw(*tenant);
  return status;
}

absl::StatusOr<RequestContextPtr> ServingPipeline::Start(PipelineRequest request, ResponseSink* sink) {
  const absl::Time now = absl::Now();
  std::shared_ptr<SessionRequest> session;
  if (absl::Status status = Admit(request, sink, now, session); !status.ok()) {
    Refuse(request.origin, status);
    return status;
  }
  metrics_.RequestTaken(request.origin.protocol);
  auto context = std::make_shared<RequestContext>();
  context->id = next_id_++;
  context->origin = std::move(request.origin);
  context->sink = sink;
  if (session != nullptr) {
    context->session = std::move(session);
    context->sink = context->session.get();
    request.generate.lease = context->session->lease();
  }
  context->num_samples = request.generate.sampling.n;
  context->min_tokens = request.generate.sampling.min_tokens;
  context->max_tokens = request.generate.sampling.max_tokens;
  context->stop = request.generate.sampling.stop;
  context->arrival = now;
  context->call_syntax = request.call_syntax;
  context->parallel_calls = request.parallel_calls;
  context->call_id_seed = DrawSeed();
  if (request.call_syntax == model_.call_syntax) context->shown_tokens = marker_tokens_;
  request.generate.id = context->id;
  request.generate.arrival = now;
  request.generate.cache_salt = CacheSaltOf(*context->origin.tenant);
  if (request.generate.lease) request.generate.lease->limits = LeaseLimitsOf(*context->origin.tenant);
  request.generate.tenant = ShareOf(*context->origin.tenant, request.generate.cache_salt, model_.cache);
  stream_thread_.Open(context);
  if (request.output_format.kind != OutputFormat::Kind::kFree) {
    request.generate.constraint = grammars_.Find(request.output_format);
    if (request.generate.constraint == nullptr) {
      CompileFormat(std::move(request), context);
      return context;
    }
  }
  PostPrepare(std::move(request), context);
  return context;
}

void ServingPipeline::CompileFormat(PipelineRequest request, RequestContextPtr context) {
  const bool taken = grammar_worker_.TryPost([this, context, request = std::move(request)]() mutable {
    absl::StatusOr<GrammarCompiler::ConstraintPtr> constraint = absl::CancelledError("the client went away");
    if (!context->cancelled) constraint = grammars_.Compile(request.output_format);
    if (!constraint.ok()) {
      stream_thread_.Push({LastOutput(context->id, constraint.status())});
      return;
    }
    request.generate.constraint = *std::move(constraint);
    PostPrepare(std::move(request), std::move(context));
  });
  if (taken) return;
  stream_thread_.Push({LastOutput(context->id, TryAgainLater("too many output formats wait to be compiled"))});
}

void ServingPipeline::PostPrepare(PipelineRequest request, RequestContextPtr context) {
  text_worker_.Post([this, request = std::move(request), context = std::move(context)]() mutable {
    Prepare(std::move(request), std::move(context));
  });
}

void ServingPipeline::Prepare(PipelineRequest request, RequestContextPtr context) {
  absl::StatusOr<std::vector<TokenId>> tokens = absl::CancelledError("the client went away");
  if (!context->cancelled) {
    try {
      tokens = TokensFor(request, *context);
    } catch (const std::exception& error) {  // Of the libraries that read templates and text.
      tokens = absl::InternalError(absl::StrCat("preparing the prompt failed: ", error.what()));
    }
  }
  if (!tokens.ok()) {
    stream_thread_.Push({LastOutput(context->id, tokens.status())});
    return;
  }
  request.generate.prompt = *std::move(tokens);
  engine_thread_.Submit(std::move(request.generate), std::move(context));
}

absl::StatusOr<std::vector<TokenId>> ServingPipeline::TokensFor(const PipelineRequest& request,
                                                                const RequestContext& context) const {
  const std::string field = FieldOfPrompt(request);
  if (context.session != nullptr) return context.session->MakePrompt(request.prompt, field);
  return MakePromptTokens(request.prompt, field);
}

absl::StatusOr<std::vector<TokenId>> ServingPipeline::MakePromptTokens(const Prompt& prompt,
                                                                       const std::string& field) const {
  if (const auto* given = std::get_if<std::vector<TokenId>>(&prompt)) return *given;
  absl::StatusOr<std::vector<TokenId>> tokens;
  if (const auto* conversation = std::get_if<Conversation>(&prompt)) {
    RETURN_IF_ERROR(CheckTemplate(model_, prompt));
    absl::StatusOr<std::string> text = model_.chat_template->Render(*conversation);
    if (!text.ok()) return AboutField(field, text.status());
    // A template writes the control tokens itself, the one at the beginning included.
    tokens = model_.tokenizer->Encode(*text, {.add_special = false, .parse_special = true});
    if (!tokens.ok()) return AboutField(field, tokens.status());
    return tokens;
  }
  // Whoever writes a template by hand means its control tokens, so they are read as such here too.
  tokens = model_.tokenizer->Encode(std::get<std::string>(prompt), {.add_special = true, .parse_special = true});
  if (!tokens.ok()) return AboutField(field, tokens.status());
  // A text that begins with BOS, and a model that has it added: one of the two is too many.
  const TokenId bos = model_.tokenizer->bos();
  if (bos >= 0 && tokens->size() >= 2 && (*tokens)[0] == bos && (*tokens)[1] == bos) tokens->erase(tokens->begin());
  return tokens;
}

void ServingPipeline::Refuse(const RequestOrigin& origin, const absl::Status& status) {
  metrics_.RequestRefused(origin.protocol, status.code());
  if (request_log_ == nullptr) return;
  RequestRecord record;
  record.origin = origin;
  record.status = status.code();
  request_log_->Write(record, absl::Now());
}

void ServingPipeline::RequestOver(const RequestRecord& record) {
  const absl::Time now = absl::Now();
  admission_.RequestOver(now);
  ledger_.RequestOver(*record.origin.tenant, record.usage, now);
  metrics_.RequestOver(record);
  LogRequestEnd(record);
  if (request_log_ != nullptr) request_log_->Write(record, now);
}

void ServingPipeline::StreamOver() {
  metrics_.StreamOver();
  admission_.StreamOver();
}

void ServingPipeline::Cancel(RequestContext& context) {
  context.cancelled = true;
  engine_thread_.Cancel(context.id);
}

// Readers are told on the stream thread, which is there so that the engine waits for nobody's network.
void ServingPipeline::Publish(std::vector<PageEvent> events) {
  stream_thread_.Post(
      [this, events = std::move(events)]() mutable { kv_events_.Append(std::move(events), absl::Now()); });
}

bool ServingPipeline::GetSharedPages(SharedPagesCallback callback) {
  return engine_thread_.TryRun([this, callback = std::move(callback)](Engine& engine) {
    engine.RecordPageEvents();
    // What has happened to these pages is told before them, what will happen after them.
    Publish(engine.TakePageEvents());
    stream_thread_.Post([this, callback, pages = engine.SharedPages()]() mutable {
      callback(std::move(pages), kv_events_.last_sequence());
    });
  });
}

}  // namespace quire
