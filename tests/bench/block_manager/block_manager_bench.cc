// What finding, taking and replacing cached prompts costs. The prompts are asked for in turn, so that a large pool's
// index does not sit in the processor's caches; one prompt again and again (Distinct = 1) shows the best case.
#include <benchmark/benchmark.h>

#include <random>
#include <vector>

#include "block_manager/block_manager.h"

namespace quire {
namespace {

constexpr int kPromptTokens = 2048;
constexpr int kPoolTokens = 1 << 20;

std::vector<TokenId> RandomPrompt(std::mt19937& random) {
  std::vector<TokenId> tokens(kPromptTokens + 1);
  for (TokenId& token : tokens) token = static_cast<TokenId>(random() % 49152);
  return tokens;
}

// A pool that is full of cached prompts.
struct FullPool {
  explicit FullPool(int block_size) : manager({.num_blocks = kPoolTokens / block_size, .block_size = block_size}) {
    for (int i = 0; i < kPoolTokens / kPromptTokens - 1; ++i) RunPrompt(prompts.emplace_back(RandomPrompt(random)));
  }

  int RunPrompt(const std::vector<TokenId>& tokens) {
    const int num_cached = manager.Admit(table, tokens, {}).num_cached_tokens;
    manager.Commit(table, tokens, kPromptTokens);
    manager.Release(table, tokens, kPromptTokens);
    return num_cached;
  }

  std::mt19937 random{1};
  BlockManager manager;
  BlockTable table;
  std::vector<std::vector<TokenId>> prompts;
};

void CountPages(benchmark::State& state) {
  const int64_t pages = state.iterations() * (kPromptTokens / state.range(0));
  state.counters["time/page"] =
      benchmark::Counter(static_cast<double>(pages), benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

void LookUp(benchmark::State& state) {
  FullPool pool(static_cast<int>(state.range(0)));
  size_t next = 0;
  for (auto _ : state) {
    const auto& prompt = pool.prompts[next++ % static_cast<size_t>(state.range(1))];
    if (pool.manager.CountCached(prompt, 0) != kPromptTokens) state.SkipWithError("the prompt is not cached");
  }
  CountPages(state);
}
BENCHMARK(LookUp)->ArgNames({"PageSize", "Distinct"})->ArgsProduct({{16, 32}, {1, 500}});

void TakeCachedPromptAndRelease(benchmark::State& state) {
  FullPool pool(static_cast<int>(state.range(0)));
  size_t next = 0;
  for (auto _ : state) {
    const auto& prompt = pool.prompts[next++ % static_cast<size_t>(state.range(1))];
    if (pool.RunPrompt(prompt) != kPromptTokens) state.SkipWithError("the prompt is not cached");
  }
  CountPages(state);
}
BENCHMARK(TakeCachedPromptAndRelease)->ArgNames({"PageSize", "Distinct"})->ArgsProduct({{16, 32}, {1, 500}});

// Evicts as many pages as it takes.
void ReplaceCachedPrompt(benchmark::State& state) {
  FullPool pool(static_cast<int>(state.range(0)));
  std::vector<TokenId> prompt = RandomPrompt(pool.random);
  for (auto _ : state) {
    ++prompt[0];
    if (pool.RunPrompt(prompt) != 0) state.SkipWithError("the prompt is not new");
  }
  CountPages(state);
}
BENCHMARK(ReplaceCachedPrompt)->ArgName("PageSize")->Arg(16)->Arg(32);

}  // namespace
}  // namespace quire
