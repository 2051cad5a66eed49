#include "server/cli/cache.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "quire/v1/cache.grpc.pb.h"
#include "server/cli/terminal_text.h"
#include "server/client_channel.h"

namespace quire {
namespace {

struct CacheOptions {
  std::string target = "127.0.0.1:50051";
  std::string text;
  std::vector<int> tokens;
  bool chat = false;
  int max_prefixes = 20;
  bool pinned = false;
  bool or_preferred = false;
  int priority = 0;
  int ttl_seconds = 600;
  bool compute = false;
  uint64_t lease = 0;
  bool own = false;
  bool all = false;
  uint64_t sequence = 0;
};

using Stub = v1::CacheService::Stub;

v1::CachePrompt PromptOf(const CacheOptions& options) {
  v1::CachePrompt prompt;
  if (!options.tokens.empty()) {
    prompt.mutable_token_ids()->mutable_ids()->Add(options.tokens.begin(), options.tokens.end());
  } else if (options.chat) {
    v1::ChatMessage& message = *prompt.mutable_chat()->add_messages();
    message.set_role("user");
    message.set_content(options.text);
  } else {
    prompt.set_text(options.text);
  }
  return prompt;
}

const char* NameOf(v1::LeaseKind kind) { return kind == v1::LEASE_KIND_PINNED ? "pinned" : "preferred"; }

// How long from now on.
std::string TimeLeft(const google::protobuf::Timestamp& end) {
  const absl::Duration left = absl::FromUnixSeconds(end.seconds()) - absl::Now();
  return absl::FormatDuration(absl::Trunc(std::max(left, absl::ZeroDuration()), absl::Seconds(1)));
}

void Print(const v1::Lease& lease) {
  std::printf("lease %" PRIu64 ": %s", lease.id(), NameOf(lease.kind()));
  if (lease.kind() == v1::LEASE_KIND_PREFERRED) std::printf(", priority %d", lease.priority());
  std::printf(", %d tokens in %d pages, ends in %s", lease.tokens(), lease.pages(), TimeLeft(lease.expires()).c_str());
  if (lease.tokens() < lease.tokens_at_first()) std::printf(" (had %d: pages ran out)", lease.tokens_at_first());
  std::printf("\n");
}

void Print(const v1::CachedPrefix& prefix) {
  const char* state = prefix.leased_pages() == prefix.pages() ? "leased"
                      : prefix.used_pages() == prefix.pages() ? "in use"
                      : prefix.used_pages() > 0               ? "in part"
                                                              : "cached";
  std::printf("%8d %6d  %-8s \"%s\"\n", prefix.tokens(), prefix.pages(), state,
              ForTerminal(absl::CHexEscape(prefix.first_text())).c_str());
}

grpc::Status Probe(Stub& stub, grpc::ClientContext& context, const CacheOptions& options) {
  v1::ProbeRequest request;
  *request.mutable_prompt() = PromptOf(options);
  v1::ProbeResponse response;
  grpc::Status status = stub.Probe(&context, request, &response);
  if (!status.ok()) return status;
  std::printf("%d of %d tokens would be found\n", response.cached_tokens(), response.prompt_tokens());
  for (const v1::TierHit& tier : response.tiers()) std::printf("  %s: %d\n", tier.tier().c_str(), tier.cached_tokens());
  return status;
}

grpc::Status List(Stub& stub, grpc::ClientContext& context, const CacheOptions& options) {
  v1::ListCacheRequest request;
  request.set_max_prefixes(options.max_prefixes);
  v1::ListCacheResponse response;
  grpc::Status status = stub.List(&context, request, &response);
  if (!status.ok()) return status;
  if (response.leases().empty()) std::printf("no leases\n");
  for (const v1::Lease& lease : response.leases()) Print(lease);
  if (response.prefixes().empty()) {
    std::printf("nothing is cached\n");
  } else {
    std::printf("%8s %6s  %-8s %s\n", "tokens", "pages", "state", "begins with");
  }
  for (const v1::CachedPrefix& prefix : response.prefixes()) Print(prefix);
  return status;
}

grpc::Status Pin(Stub& stub, grpc::ClientContext& context, const CacheOptions& options) {
  v1::PinRequest request;
  *request.mutable_prompt() = PromptOf(options);
  request.set_kind(options.pinned ? v1::LEASE_KIND_PINNED : v1::LEASE_KIND_PREFERRED);
  request.set_or_preferred(options.or_preferred);
  request.set_priority(options.priority);
  request.mutable_ttl()->set_seconds(options.ttl_seconds);
  request.set_compute(options.compute);
  v1::PinResponse response;
  grpc::Status status = stub.Pin(&context, request, &response);
  if (status.ok()) Print(response.lease());
  return status;
}

grpc::Status Unpin(Stub& stub, grpc::ClientContext& context, const CacheOptions& options) {
  v1::UnpinRequest request;
  request.set_lease_id(options.lease);
  v1::UnpinResponse response;
  return stub.Unpin(&context, request, &response);
}

grpc::Status Evict(Stub& stub, grpc::ClientContext& context, const CacheOptions& options) {
  v1::EvictRequest request;
  if (options.all) {
    request.set_all(true);
  } else if (options.own) {
    request.set_own(true);
  } else {
    *request.mutable_prefix() = PromptOf(options);
  }
  v1::EvictResponse response;
  grpc::Status status = stub.Evict(&context, request, &response);
  if (status.ok()) std::printf("%d pages evicted\n", response.evicted_pages());
  return status;
}

void Print(const v1::PageEvents::Event& event) {
  if (event.has_stored()) {
    const std::string parent =
        event.stored().has_parent_hash() ? absl::StrCat(absl::Hex(event.stored().parent_hash(), absl::kZeroPad16)) : "-";
    std::printf("stored  %016" PRIx64 " after %s, %d tokens\n", event.stored().hash(), parent.c_str(),
                event.stored().token_ids_size());
  } else if (event.has_removed()) {
    std::printf("removed %016" PRIx64 "\n", event.removed().hash());
  } else {
    std::printf("cleared\n");
  }
}

grpc::Status Watch(Stub& stub, grpc::ClientContext& context, const CacheOptions& options) {
  v1::SubscribeRequest request;
  request.set_sequence(options.sequence);
  const auto stream = stub.Subscribe(&context, request);
  v1::PageEvents message;
  while (stream->Read(&message)) {
    std::printf("batch %" PRIu64 "%s, %d events\n", message.sequence(),
                message.has_snapshot() ? " (what there was)" : "", message.events_size());
    for (const v1::PageEvents::Event& event : message.events()) Print(event);
    std::fflush(stdout);
  }
  return stream->Finish();
}

using Action = grpc::Status (*)(Stub&, grpc::ClientContext&, const CacheOptions&);

int Run(Action action, const CacheOptions& options) {
  const auto stub = v1::CacheService::NewStub(OpenChannel(options.target));
  grpc::ClientContext context;
  const grpc::Status status = action(*stub, context, options);
  if (status.ok()) return 0;
  std::fprintf(stderr, "%s\n", ForTerminal(status.error_message()).c_str());
  return 1;
}

// A subcommand of `quire cache`.
CLI::App& AddAction(CLI::App& cache, const char* name, const char* help, Action action, CacheOptions& options,
                    int* exit_code) {
  CLI::App& command = *cache.add_subcommand(name, help);
  command.add_option("--target", options.target, "host:port of the server")->capture_default_str();
  command.callback([action, &options, exit_code] { *exit_code = Run(action, options); });
  return command;
}

void AddPromptFlags(CLI::App& command, CacheOptions& options) {
  command.add_option("text", options.text, "The prompt")->option_text("TEXT");
  command.add_option("--tokens", options.tokens, "The prompt as token ids, as 1,2,3")->delimiter(',');
  command.add_flag("--chat", options.chat, "TEXT is a user's message, for the model's chat template");
}

}  // namespace

void AddCacheCommand(CLI::App& app, int* exit_code) {
  // Lives as long as the program, like the commands that refer to it.
  static CacheOptions& options = *new CacheOptions();
  CLI::App& cache = *app.add_subcommand("cache", "Look into a running server's prefix cache, and manage it");
  cache.require_subcommand(1);
  const auto add = [&](const char* name, const char* help, Action action) -> CLI::App& {
    return AddAction(cache, name, help, action, options, exit_code);
  };
  AddPromptFlags(add("probe", "How much of a prompt would be found", &Probe), options);
  add("list", "Leases, and prefixes that are cached", &List)
      .add_option("--max-prefixes", options.max_prefixes, "No more prefixes than that")
      ->check(CLI::Range(0, 1000))
      ->capture_default_str();

  CLI::App& pin = add("pin", "Take a lease on a prompt: what is cached of it stays", &Pin);
  AddPromptFlags(pin, options);
  pin.add_flag("--pinned", options.pinned, "Never to be given up (default: given up before a request is preempted)");
  pin.add_flag("--or-preferred", options.or_preferred, "With --pinned: be content with less where no more can be pinned");
  pin.add_option("--priority", options.priority, "Leases with less are given up first")->capture_default_str();
  pin.add_option("--ttl", options.ttl_seconds, "Seconds that it lasts")
      ->check(CLI::Range(1, 86400))
      ->capture_default_str();
  pin.add_flag("--compute", options.compute, "Compute first what is not cached");

  add("unpin", "End a lease", &Unpin).add_option("lease", options.lease, "Its number")->required();

  CLI::App& evict = add("evict", "Give up what begins with a prompt and nobody uses or leases", &Evict);
  AddPromptFlags(evict, options);
  evict.add_flag("--own", options.own, "Everything of one's own");
  evict.add_flag("--all", options.all, "Everything");

  add("watch", "Print how pages come and go", &Watch)
      .add_option("--sequence", options.sequence, "Number of the last batch that is known; 0: begin with what there is")
      ->capture_default_str();
}

}  // namespace quire
