// ServingPipeline: the way of a request through the server's threads, whatever protocol it came by.
//
//   caller's thread          admission: taken on or refused at once
//   grammar worker           compiling the output format, where there is one that is not cached
//   text worker              chat template, tokenising
//   engine thread            steps
//   stream thread            text, stop strings -> ResponseSink
//
// Every request that is taken on ends with exactly one last delta, whoever fails, cancels or shuts down.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/engine.h"
#include "engine/tokenizer/chat_template.h"
#include "engine/tokenizer/tokenizer.h"
#include "server/admission_control.h"
#include "server/engine_thread.h"
#include "server/grammar/grammar_compiler.h"
#include "server/kv_events.h"
#include "server/metrics/metrics.h"
#include "server/output_format.h"
#include "server/prompt.h"
#include "server/request_context.h"
#include "server/request_log.h"
#include "server/sessions/session_store.h"
#include "server/stream_thread.h"
#include "server/tenants/tenant_directory.h"
#include "server/tenants/tenant_ledger.h"
#include "server/text_worker.h"
#include "server/tools/call_syntax.h"

namespace quire {

// What the server needs to know about the model it serves. Pointers outlive the pipeline.
struct ServedModel {
  std::string name;
  std::string architecture;
  uint64_t parameters = 0;
  int max_model_len = 0;
  int hidden_size = 0;  // Numbers in an embedding.
  int max_num_seqs = 0;
  int block_size = 0;
  std::string path;          // Of its file,
  uint64_t fingerprint = 0;  // and what that was like when it was loaded.
  const Tokenizer* tokenizer = nullptr;
  const ChatTemplate* chat_template = nullptr;  // Null: the model has none, for this reason:
  std::string chat_template_error;
  const CallSyntax* call_syntax = nullptr;  // How it writes tool calls; null: that is not known.
  CacheConfig cache;
  SessionOptions sessions;
};

struct PipelineRequest {
  Prompt prompt;
  GenerateRequest generate;  // All but `id`, `prompt` and what follows from the tenant.
  OutputFormat output_format;
  std::string prompt_field;  // How the client calls its prompt, for messages; empty: "text" or "messages".
  RequestOrigin origin = {};  // With its tenant, where the server's tenants have keys.
  const CallSyntax* call_syntax = nullptr;  // Tool calls in the answer are looked for in this form; null: they are not.
  bool parallel_calls = true;               // Else only the first is delivered.
  std::string session_id = {};              // Empty: it runs in no session. Else `prompt` is what is new.
};

class ServingPipeline {
 public:
  // `engine` outlives this object, and is used by its engine thread only. At most `max_requests` are taken on at once.
  // `device_lost` is called, on that thread, when the device that computes is lost: every request has been ended with
  // UNAVAILABLE by then, and none is taken on any more. `request_log` may be null.
  ServingPipeline(ServedModel model, Engine& engine, int max_requests, std::function<void()> device_lost,
                  std::unique_ptr<RequestLog> request_log = nullptr, TenantDirectory tenants = {});
  // REQUIRES: no request is alive (see CancelAll).
  ~ServingPipeline();

  const ServedModel& model() const { return model_; }
  SessionStore& sessions() { return sessions_; }
  Metrics& metrics() { return metrics_; }
  // Who may ask for what: fronts identify the caller of everything but health and version.
  const TenantDirectory& tenants() const { return tenants_; }
  // Where the keys of the tenant's pages begin: the owner of its leases and sessions.
  uint64_t CacheSaltOf(const Tenant& tenant) const;
  // Of leases that are not taken by requests: Start sees to theirs.
  LeaseLimits LeaseLimitsOf(const Tenant& tenant) const;
  std::vector<TenantUsage> tenant_usage() const { return ledger_.usage(); }

  // Thread-safe and non-blocking, all that follow.

  // Takes a request on; its deltas go to `sink`, possibly before this returns. The caller calls StreamOver once it is
  // done with delivering them. FAILED_PRECONDITION for a conversation where the model has no chat template,
  // INVALID_ARGUMENT for a priority that the tenant may not ask for, RESOURCE_EXHAUSTED with a RetryInfo, or
  // UNAVAILABLE; of a session, NOT_FOUND and ABORTED; then nothing is delivered.
  absl::StatusOr<RequestContextPtr> Start(PipelineRequest request, ResponseSink* sink);
  // Takes note of a request that was refused before Start: what came cannot be read, or is not allowed.
  void Refuse(const RequestOrigin& origin, const absl::Status& status);
  // The request ends within one step. No effect when it is over.
  void Cancel(RequestContext& context);
  void StreamOver();

  // The tokens that Start would make of a prompt, in time proportional to its length: for the text worker.
  // INVALID_ARGUMENT is said about `field`.
  absl::StatusOr<std::vector<TokenId>> MakePromptTokens(const Prompt& prompt, const std::string& field) const;
  // Runs `job` on the text worker; false when too many wait.
  bool TryPostText(TextWorker::Job job) { return text_worker_.TryPost(std::move(job)); }
  // Runs `job` on the engine's thread between two steps; false when too many wait.
  bool TryRunOnEngine(EngineThread::Job job) { return engine_thread_.TryRun(std::move(job)); }

  // How the pages that can be shared change. Nothing is told before somebody has asked for them:
  KvEvents& kv_events() { return kv_events_; }
  // Calls back on the stream thread with the pages that can be shared at one moment, parents before children, and the
  // number of the last batch of events before it. False, and no call, when too much waits for the engine.
  using SharedPagesCallback = std::function<void(std::vector<PageEvent> pages, uint64_t sequence)>;
  bool GetSharedPages(SharedPagesCallback callback);

  // From now on every new request is answered UNAVAILABLE.
  void StopAdmitting() { admission_.Close(); }
  // False from then on, and when the device was lost.
  bool admitting() const { return !admission_.closed(); }
  // Ends all requests with `reason`.
  void CancelAll(absl::Status reason) { engine_thread_.CancelAll(std::move(reason)); }
  // Blocks until every stream is over; false if one is left at `deadline`.
  bool AwaitNoStreams(absl::Time deadline) { return admission_.AwaitNoStreams(deadline); }

 private:
  // Says whose the request is, and finds the session that it runs in, if any.
  absl::Status Admit(PipelineRequest& request, ResponseSink* sink, absl::Time now,
                     std::shared_ptr<SessionRequest>& session);
  // Null for a request that runs in no session.
  absl::StatusOr<std::shared_ptr<SessionRequest>> EnterSession(const PipelineRequest& request, ResponseSink* sink,
                                                               absl::Time now);
  void CompileFormat(PipelineRequest request, RequestContextPtr context);
  absl::StatusOr<std::vector<TokenId>> TokensFor(const PipelineRequest& request, const RequestContext& context) const;
  void PostPrepare(PipelineRequest request, RequestContextPtr context);
  void Prepare(PipelineRequest request, RequestContextPtr context);
  void RequestOver(const RequestRecord& record);
  void Publish(std::vector<PageEvent> events);

  const ServedModel model_;
  const std::vector<TokenId> marker_tokens_;  // Control tokens that mark calls in the model's own form.
  const std::function<void()> device_lost_;
  std::atomic<RequestId> next_id_{1};
  const TenantDirectory tenants_;
  TenantLedger ledger_;
  AdmissionControl admission_;
  Metrics metrics_;
  const std::unique_ptr<RequestLog> request_log_;
  KvEvents kv_events_;
  SessionStore sessions_;
  // Destroyed in reverse order: each thread may still post to those above it. The stream thread's callback into the
  // engine's needs a live request, of which there is none by then.
  StreamThread stream_thread_;
  EngineThread engine_thread_;
  TextWorker text_worker_;
  GrammarCompiler grammars_;  // Compiles on grammar_worker_ alone.
  TextWorker grammar_worker_;
};

}  // namespace quire
