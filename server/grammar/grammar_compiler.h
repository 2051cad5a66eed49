// GrammarCompiler: turns what a request demands of its answer's form into a TokenConstraint over a model's vocabulary.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "engine/sampling/token_constraint.h"
#include "engine/tokenizer/tokenizer.h"
#include "server/output_format.h"

namespace quire {

struct GrammarLimits {
  size_t max_source_bytes = size_t{64} << 10;
  absl::Duration max_time = absl::Milliseconds(500);  // Of the compiling thread's processor time.
  int64_t max_memory = int64_t{256} << 20;            // Bytes at once while compiling.
  int64_t max_cached_bytes = int64_t{128} << 20;      // Of compiled grammars that nobody may be using.
};

class GrammarCompiler {
 public:
  using ConstraintPtr = std::shared_ptr<const TokenConstraint>;

  // `tokenizer` outlives this object. Reading its vocabulary is left to the first compilation.
  explicit GrammarCompiler(const Tokenizer& tokenizer, GrammarLimits limits = {});
  ~GrammarCompiler();

  // What Compile gave for the same bytes, if it is still kept; null else. Thread-safe.
  ConstraintPtr Find(const OutputFormat& format);

  // INVALID_ARGUMENT names format.field and says what is wrong with it, not supported, or too much. A format is
  // followed to the letter or refused. For one thread at a time, and not the engine's: it may take max_time and a
  // little more. REQUIRES: format.kind is not kFree.
  absl::StatusOr<ConstraintPtr> Compile(const OutputFormat& format);

 private:
  struct Vocabulary;
  struct Entry {
    std::string key;
    ConstraintPtr constraint;
    int64_t bytes = 0;
  };

  void Keep(std::string key, ConstraintPtr constraint, int64_t bytes);

  const Tokenizer& tokenizer_;
  const GrammarLimits limits_;
  std::unique_ptr<Vocabulary> vocabulary_;  // Null until the first compilation.

  std::mutex mutex_;          // Guards what follows.
  std::list<Entry> entries_;  // Last used first.
  absl::flat_hash_map<std::string, std::list<Entry>::iterator> by_key_;
  int64_t cached_bytes_ = 0;
};

}  // namespace quire
