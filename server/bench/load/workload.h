// What is asked of a server under load: conversations, their turns, and what each turn is made of. A workload is data
// that follows from its options and its seed alone; how it is sent and when is decided elsewhere.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace quire {

// So many tokens that follow from `key`: pieces with the same key read alike, which is how prompts share prefixes. Or
// a text as it stands, where that is not empty.
struct PromptPiece {
  uint64_t key = 0;
  int num_tokens = 0;
  std::string text = {};
};

// What a user says, and how long the answer is to be.
struct LoadTurn {
  std::vector<PromptPiece> prompt;
  int output_tokens = 0;
};

struct LoadConversation {
  std::vector<LoadTurn> turns;
  double start_s = 0;  // Where the workload has times of its own.
};

struct Workload {
  std::vector<LoadConversation> conversations;
  bool has_start_times = false;  // Conversations are then in the order of their start_s, the first of which is 0.

  int num_requests() const;
};

// A whole number of tokens, uniformly from `min` to `max`, both included.
struct LengthRange {
  int min = 0;
  int max = 0;
};

struct WorkloadOptions {
  enum class Kind {
    kRandom,    // Random tokens of the lengths below.
    kShareGpt,  // Conversations from a file in ShareGPT's format; without a file, random ones of about such lengths.
    kMooncake,  // A trace in Mooncake's format: lengths, times, and blocks that prompts have in common.
  };
  Kind kind = Kind::kRandom;
  std::string path = {};                  // kShareGpt, kMooncake.
  int num_conversations = 0;              // At most; 0: what the file has, or 64.
  LengthRange input_tokens = {128, 128};  // kRandom: of each turn.
  LengthRange output_tokens = {0, 0};     // {0, 0}: as the file says, or 48.
  int prefix_tokens = 0;                  // Before each first turn (not kMooncake): one of `num_prefixes` texts.
  int num_prefixes = 1;
  int turns = 1;            // In each conversation; as many as it has, at most, from a file.
  double length_scale = 1;  // kMooncake: multiplies all lengths.
  double time_scale = 1;    // kMooncake: multiplies all times; 0.5 plays a trace at twice its speed.
  uint64_t seed = 1;
};

// INVALID_ARGUMENT or NOT_FOUND, naming the flag, or the file and the place in it.
absl::StatusOr<Workload> MakeWorkload(const WorkloadOptions& options);

}  // namespace quire
