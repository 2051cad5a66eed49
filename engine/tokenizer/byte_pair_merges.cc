#include "engine/tokenizer/byte_pair_merges.h"

#include <algorithm>
#include <functional>

namespace quire {
namespace {

uint64_t Pair(uint32_t high, uint32_t low) { return uint64_t{high} << 32 | low; }

}  // namespace

void BytePairMerges::Reserve(size_t num_merges) {
  rank_of_.reserve(num_merges);
  merged_.reserve(num_merges);
}

void BytePairMerges::Add(TokenId left, TokenId right, TokenId merged) {
  rank_of_.try_emplace(Pair(left, right), merged_.size());
  merged_.push_back(merged);
}

uint32_t BytePairMerges::RankOf(TokenId left, TokenId right) const {
  const auto found = rank_of_.find(Pair(left, right));
  return found == rank_of_.end() ? kNoMerge : found->second;
}

void BytePairMerges::Enqueue(int32_t node, Workspace& workspace) const {
  Workspace::Node& left = workspace.nodes[node];
  left.rank = left.next == kEnd ? kNoMerge : RankOf(left.token, workspace.nodes[left.next].token);
  if (left.rank == kNoMerge) return;
  workspace.heap.push_back(Pair(left.rank, node));
  std::push_heap(workspace.heap.begin(), workspace.heap.end(), std::greater<>());
}

std::optional<uint64_t> BytePairMerges::Dequeue(Workspace& workspace) {
  auto& sorted = workspace.sorted;
  auto& heap = workspace.heap;
  if (sorted.empty()) {
    sorted.swap(heap);
    std::sort(sorted.begin(), sorted.end(), std::greater<>());
  }
  if (sorted.empty()) return std::nullopt;
  const bool from_heap = !heap.empty() && heap.front() < sorted.back();
  if (from_heap) std::pop_heap(heap.begin(), heap.end(), std::greater<>());
  std::vector<uint64_t>& source = from_heap ? heap : sorted;
  const uint64_t least = source.back();
  source.pop_back();
  return least;
}

void BytePairMerges::Apply(const std::vector<TokenId>& symbols, Workspace& workspace, std::vector<TokenId>& out) const {
  auto& nodes = workspace.nodes;
  nodes.clear();
  const int32_t num_symbols = static_cast<int32_t>(symbols.size());
  for (int32_t i = 0; i < num_symbols; ++i) {
    nodes.push_back({symbols[i], i - 1, i + 1 < num_symbols ? i + 1 : kEnd, kNoMerge});
  }
  for (int32_t i = 0; i < num_symbols; ++i) Enqueue(i, workspace);

  while (const std::optional<uint64_t> best = Dequeue(workspace)) {
    const uint32_t rank = *best >> 32;
    const int32_t at = static_cast<int32_t>(*best);
    // An entry outlives its pair when one of the two has merged elsewhere; the node knows the pair it has now.
    if (nodes[at].rank != rank) continue;
    const int32_t gone = nodes[at].next;
    nodes[at].token = merged_[rank];
    nodes[at].next = nodes[gone].next;
    nodes[gone].rank = kNoMerge;
    if (nodes[at].next != kEnd) nodes[nodes[at].next].previous = at;
    Enqueue(at, workspace);
    if (nodes[at].previous != kEnd) Enqueue(nodes[at].previous, workspace);
  }
  for (int32_t i = symbols.empty() ? kEnd : 0; i != kEnd; i = nodes[i].next) out.push_back(nodes[i].token);
}

}  // namespace quire
