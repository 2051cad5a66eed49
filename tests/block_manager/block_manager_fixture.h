// A block manager, the sequences that use it, and the invariants checked after each call.
#pragma once

#include <gtest/gtest.h>

#include <deque>
#include <numeric>
#include <span>
#include <vector>

#include "block_manager/block_manager.h"

namespace quire {

// `count` tokens from `first` on.
inline std::vector<TokenId> Range(TokenId first, int count) {
  std::vector<TokenId> tokens(count);
  std::iota(tokens.begin(), tokens.end(), first);
  return tokens;
}

inline std::vector<TokenId> Join(std::vector<TokenId> head, const std::vector<TokenId>& tail) {
  head.insert(head.end(), tail.begin(), tail.end());
  return head;
}

class BlockManagerFixture : public testing::Test {
 protected:
  struct Sequence {
    std::vector<TokenId> tokens;
    BlockTable table;
  };

  explicit BlockManagerFixture(const BlockManagerOptions& options) : manager_(options) {}

  Sequence& Add(std::vector<TokenId> tokens) { return sequences_.emplace_back(Sequence{std::move(tokens), {}}); }

  Admission Admit(Sequence& sequence, const AdmitOptions& options = {}) {
    const Admission admission = manager_.Admit(sequence.table, sequence.tokens, options);
    CheckInvariants();
    return admission;
  }
  // The same for a new sequence that must be admitted.
  Sequence& Start(std::vector<TokenId> tokens, const AdmitOptions& options = {}) {
    Sequence& sequence = Add(std::move(tokens));
    EXPECT_EQ(Admit(sequence, options).outcome, AdmitOutcome::kAdmitted);
    return sequence;
  }

  bool Grow(Sequence& sequence, int num_computed, int num_tokens) {
    const bool grown = manager_.Grow(sequence.table, num_computed, num_tokens);
    CheckInvariants();
    return grown;
  }

  // A step that computes a sequence up to num_tokens, where its pages need no growing.
  void Compute(Sequence& sequence, int num_tokens) {
    manager_.Commit(sequence.table, sequence.tokens, num_tokens);
    manager_.FinishCopies();
    CheckInvariants();
  }
  void Compute(Sequence& sequence) { Compute(sequence, static_cast<int>(sequence.tokens.size())); }

  void Release(Sequence& sequence, int num_computed) {
    manager_.Release(sequence.table, sequence.tokens, num_computed);
    CheckInvariants();
  }
  void Release(Sequence& sequence) { Release(sequence, static_cast<int>(sequence.tokens.size())); }

  Sequence& Fork(const Sequence& sequence) {
    sequences_.push_back({sequence.tokens, manager_.Fork(sequence.table)});
    CheckInvariants();
    return sequences_.back();
  }

  // A whole sequence from start to end; what is left is the cache.
  void Run(std::vector<TokenId> tokens, const AdmitOptions& options = {}) {
    Sequence& sequence = Start(std::move(tokens), options);
    Compute(sequence);
    Release(sequence);
  }

  int CountCached(const std::vector<TokenId>& tokens, uint64_t salt = 0) const {
    return manager_.CountCached(tokens, salt);
  }

  void CheckInvariants() const {
    std::vector<const BlockTable*> tables;
    for (const Sequence& sequence : sequences_) tables.push_back(&sequence.table);
    manager_.CheckInvariants(tables);
  }

  BlockManager manager_;
  std::deque<Sequence> sequences_;
};

}  // namespace quire
