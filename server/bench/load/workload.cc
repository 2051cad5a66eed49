#include "server/bench/load/workload.h"

#include <algorithm>
#include <climits>
#include <cmath>
#include <fstream>
#include <random>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "engine/types/status_macros.h"
#include "server/bench/load/mooncake_trace.h"
#include "server/bench/load/sharegpt.h"

namespace quire {
namespace {

constexpr int kDefaultConversations = 64;
constexpr LengthRange kDefaultOutput = {48, 48};

// Keys of prefixes, of trace blocks and of what is a prompt's own must not meet: each kind has its own top bits.
enum class KeySpace : uint64_t { kOwn = 0, kPrefix = 1, kBlock = 2 };

uint64_t Key(KeySpace space, uint64_t number) { return static_cast<uint64_t>(space) << 62 | (number & (~0ull >> 2)); }

class WorkloadMaker {
 public:
  explicit WorkloadMaker(const WorkloadOptions& options) : options_(options), random_(options.seed) {}

  Workload Random() {
    Workload workload;
    workload.conversations.resize(NumConversations());
    for (LoadConversation& conversation : workload.conversations) {
      for (int turn = 0; turn < options_.turns; ++turn) {
        conversation.turns.push_back({{Own(Draw(options_.input_tokens))}, OutputTokens(kDefaultOutput)});
      }
      AddPrefix(conversation);
    }
    return workload;
  }

  Workload LikeShareGpt() {
    Workload workload;
    workload.conversations.resize(NumConversations());
    for (LoadConversation& conversation : workload.conversations) {
      for (int turn = 0; turn < options_.turns; ++turn) {
        const TurnLengths lengths = DrawShareGptLengths(random_);
        conversation.turns.push_back(
            {{Own(lengths.prompt_tokens)}, OutputTokens({lengths.answer_tokens, lengths.answer_tokens})});
      }
      AddPrefix(conversation);
    }
    return workload;
  }

  absl::StatusOr<Workload> FromShareGpt(std::istream& file) {
    ASSIGN_OR_RETURN(std::vector<std::vector<ShareGptTurn>> read, ReadShareGpt(file, options_.turns));
    std::shuffle(read.begin(), read.end(), random_);
    if (options_.num_conversations > 0) read.resize(std::min<size_t>(read.size(), options_.num_conversations));
    Workload workload;
    for (std::vector<ShareGptTurn>& turns : read) {
      LoadConversation& conversation = workload.conversations.emplace_back();
      for (ShareGptTurn& turn : turns) {
        const int output = OutputTokens({turn.answer_tokens, turn.answer_tokens});
        conversation.turns.push_back({{{.text = std::move(turn.prompt)}}, output});
      }
      AddPrefix(conversation);
    }
    return workload;
  }

  absl::StatusOr<Workload> FromMooncake(std::istream& file) {
    const int limit = options_.num_conversations > 0 ? options_.num_conversations : INT_MAX;
    ASSIGN_OR_RETURN(const std::vector<TraceRequest> trace, ReadMooncakeTrace(file, limit));
    Workload workload;
    workload.has_start_times = true;
    for (const TraceRequest& request : trace) {
      LoadConversation& conversation = workload.conversations.emplace_back();
      conversation.start_s = (request.timestamp_ms - trace.front().timestamp_ms) / 1e3 * options_.time_scale;
      const int output = OutputTokens({Scaled(request.output_tokens), Scaled(request.output_tokens)});
      conversation.turns.push_back({Blocks(request), output});
    }
    return workload;
  }

 private:
  int NumConversations() const {
    return options_.num_conversations > 0 ? options_.num_conversations : kDefaultConversations;
  }

  int Draw(LengthRange range) { return std::uniform_int_distribution<int>(range.min, range.max)(random_); }

  int OutputTokens(LengthRange otherwise) {
    return Draw(options_.output_tokens.max > 0 ? options_.output_tokens : otherwise);
  }

  int Scaled(int tokens) const { return std::max(1, static_cast<int>(std::lround(tokens * options_.length_scale))); }

  PromptPiece Own(int num_tokens) { return {Key(KeySpace::kOwn, random_()), num_tokens, {}}; }

  void AddPrefix(LoadConversation& conversation) {
    if (options_.prefix_tokens == 0) return;
    const uint64_t which = Draw({0, options_.num_prefixes - 1});
    const PromptPiece prefix{Key(KeySpace::kPrefix, options_.seed * 1000003 + which), options_.prefix_tokens, {}};
    std::vector<PromptPiece>& prompt = conversation.turns.front().prompt;
    prompt.insert(prompt.begin(), prefix);
  }

  std::vector<PromptPiece> Blocks(const TraceRequest& request) {
    std::vector<PromptPiece> pieces;
    const int block_tokens = Scaled(kMooncakeBlockTokens);
    int left = Scaled(request.input_tokens);
    for (const uint64_t hash_id : request.hash_ids) {
      if (left == 0) break;
      pieces.push_back({Key(KeySpace::kBlock, options_.seed * 1000003 + hash_id), std::min(left, block_tokens), {}});
      left -= pieces.back().num_tokens;
    }
    if (left > 0) pieces.push_back(Own(left));
    return pieces;
  }

  const WorkloadOptions& options_;
  std::mt19937_64 random_;
};

absl::Status InFile(const std::string& path, const absl::Status& status) {
  return absl::Status(status.code(), absl::StrCat(path, ": ", status.message()));
}

}  // namespace

int Workload::num_requests() const {
  size_t requests = 0;
  for (const LoadConversation& conversation : conversations) requests += conversation.turns.size();
  return static_cast<int>(requests);
}

absl::StatusOr<Workload> MakeWorkload(const WorkloadOptions& options) {
  using Kind = WorkloadOptions::Kind;
  WorkloadMaker maker(options);
  if (options.kind == Kind::kRandom) {
    if (!options.path.empty()) return absl::InvalidArgumentError("--dataset-path: a random workload reads no file");
    return maker.Random();
  }
  if (options.path.empty()) {
    if (options.kind == Kind::kShareGpt) return maker.LikeShareGpt();
    return absl::InvalidArgumentError("--dataset-path: a Mooncake workload needs a trace file");
  }
  std::ifstream file(options.path);
  if (!file) return absl::NotFoundError(absl::StrCat("--dataset-path: cannot read ", options.path));
  absl::StatusOr<Workload> workload =
      options.kind == Kind::kShareGpt ? maker.FromShareGpt(file) : maker.FromMooncake(file);
  if (!workload.ok()) return InFile(options.path, workload.status());
  return workload;
}

}  // namespace quire
