// Byte-pair encoding of one word: the best-ranked pair of neighbours merges, the leftmost first, until none can.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "block_manager/ids.h"

namespace quire {

// Immutable once filled; any thread may call Apply with its own Workspace.
class BytePairMerges {
 public:
  // Memory of Apply, kept from word to word.
  class Workspace {
   private:
    friend class BytePairMerges;
    struct Node {
      TokenId token;
      int32_t previous, next;  // Neighbours in the word, kEnd at its ends.
      uint32_t rank;           // Of the merge with the next node; kNoMerge: none, or the node has merged into another.
    };
    std::vector<Node> nodes;
    // Possible merges as rank << 32 | node, so that the least is the best and of those the leftmost. Most that a merge
    // makes possible come after all that were possible before, so they gather in a heap, and become the sorted part
    // when that is used up: that keeps a word of a million bytes out of a heap of a million.
    std::vector<uint64_t> sorted;  // Descending.
    std::vector<uint64_t> heap;    // A min-heap.
  };

  void Reserve(size_t num_merges);
  // Merges rank in the order they are added; one that repeats a pair has no effect.
  void Add(TokenId left, TokenId right, TokenId merged);

  // Appends the tokens of the word that begins as `symbols`. O(n log n) for n symbols.
  void Apply(const std::vector<TokenId>& symbols, Workspace& workspace, std::vector<TokenId>& out) const;

 private:
  static constexpr uint32_t kNoMerge = UINT32_MAX;
  static constexpr int32_t kEnd = -1;

  uint32_t RankOf(TokenId left, TokenId right) const;
  // Notes that `node` can merge with the node after it, if it can.
  void Enqueue(int32_t node, Workspace& workspace) const;
  // Takes out the least entry, if there is one.
  static std::optional<uint64_t> Dequeue(Workspace& workspace);

  absl::flat_hash_map<uint64_t, uint32_t> rank_of_;  // By left << 32 | right.
  std::vector<TokenId> merged_;                      // By rank.
};

}  // namespace quire
