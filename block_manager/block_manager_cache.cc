// What BlockManager's cache holds, and how parts of it are given up on request.
#include <algorithm>
#include <utility>

#include "block_manager/block_manager.h"

namespace quire {

int BlockManager::EvictPrefix(std::span<const TokenId> tokens, uint64_t salt) {
  if (epoch_ == 0) return 0;
  PageParent parent{kNoBlock, salt};
  const int num_full = static_cast<int>(tokens.size()) / block_size();
  for (int i = 0; i < num_full; ++i) {
    const BlockId found = index_.Find(parent, PageTokens(tokens, i));
    if (found == kNoBlock) return 0;
    parent.block = found;
  }
  const std::span<const TokenId> rest = tokens.subspan(static_cast<size_t>(num_full) * block_size());
  std::vector<BlockId> roots = index_.Children(parent);
  std::erase_if(roots, [&](BlockId block) {
    const std::span<const TokenId> page = index_.TokensOf(block);
    return page.size() < rest.size() || !std::ranges::equal(page.first(rest.size()), rest);
  });
  if (roots.empty() && !rest.empty()) return 0;
  int num_evicted = EvictSubtrees(std::move(roots));
  for (BlockId block = parent.block; block != kNoBlock;) {
    const BlockId before = index_.parent(block);
    if (!pool_.is_cached(block) || index_.first_child(block) != kNoBlock) break;
    ForgetSubtree(block);
    ++num_evicted;
    block = before;
  }
  return num_evicted;
}

int BlockManager::EvictOwner(uint64_t salt) { return EvictSubtrees(index_.Children({kNoBlock, salt})); }

int BlockManager::EvictAll() {
  const int num_cached = pool_.num_cached();
  while (pool_.num_cached() > 0) ForgetSubtree(pool_.oldest_cached());
  return num_cached;
}

int BlockManager::EvictSubtrees(std::vector<BlockId> roots) {
  for (size_t i = 0; i < roots.size(); ++i) {
    const std::vector<BlockId> children = index_.Children({.block = roots[i]});
    roots.insert(roots.end(), children.begin(), children.end());
  }
  int num_evicted = 0;
  while (!roots.empty()) {
    const BlockId block = roots.back();
    roots.pop_back();
    if (!pool_.is_cached(block) || index_.first_child(block) != kNoBlock) continue;
    ForgetSubtree(block);
    ++num_evicted;
  }
  return num_evicted;
}

std::vector<CachedPrefix> BlockManager::ListPrefixes(uint64_t salt, size_t max_prefixes) const {
  // Pages still to be looked at, and what leads to them.
  std::vector<std::pair<BlockId, CachedPrefix>> open;
  const auto add = [&](BlockId block, CachedPrefix prefix) {
    if (!index_.IsComputed(block)) return;
    const std::span<const TokenId> page = index_.TokensOf(block);
    prefix.num_tokens += static_cast<int>(page.size());
    ++prefix.num_blocks;
    prefix.num_used_blocks += !pool_.is_cached(block);
    prefix.num_leased_blocks += pool_.is_leased(block);
    const size_t room = CachedPrefix::kMaxFirstTokens - prefix.first_tokens.size();
    const std::span<const TokenId> shown = page.first(std::min(room, page.size()));
    prefix.first_tokens.insert(prefix.first_tokens.end(), shown.begin(), shown.end());
    open.emplace_back(block, std::move(prefix));
  };
  for (BlockId block : index_.Children({kNoBlock, salt})) add(block, {});
  std::vector<CachedPrefix> prefixes;
  while (!open.empty() && prefixes.size() < max_prefixes) {
    auto [block, prefix] = std::move(open.back());
    open.pop_back();
    const size_t num_open = open.size();
    for (BlockId child : index_.Children({.block = block})) add(child, prefix);
    if (open.size() == num_open) prefixes.push_back(std::move(prefix));
  }
  return prefixes;
}

}  // namespace quire
