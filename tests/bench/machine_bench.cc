// The machine itself, all processors together: reading memory of several sizes, int8 dot products in registers.
#include <benchmark/benchmark.h>

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/cpu/worker_pool.h"
#include "tests/kernels/cpu/machine_peak.h"

namespace quire {
namespace {

// Each thread reads its own share again and again, so that the size says which caches hold it.
void Read(benchmark::State& state, int64_t bytes) {
  const std::vector<uint64_t> words(bytes / state.threads() / 8, 1);
  for (auto _ : state) benchmark::DoNotOptimize(ReadAll(words));
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * words.size() * 8));
}

void DotProducts(benchmark::State& state, const DotProductLoop& loop) {
  constexpr int64_t kTurns = 1000;
  for (auto _ : state) loop.run(kTurns);
  state.counters["MAC/s"] = benchmark::Counter(
      static_cast<double>(state.iterations() * kTurns * loop.multiply_adds_per_turn), benchmark::Counter::kIsRate);
}

[[maybe_unused]] const bool registered = [] {
  const int num_threads = static_cast<int>(AllowedProcessors().size());
  for (const int64_t megabytes : {1, 16, 96, 512}) {
    const std::string name = "machine/read/" + std::to_string(megabytes) + "MB";
    benchmark::RegisterBenchmark(name.c_str(), Read, megabytes * 1'000'000)->Threads(num_threads)->UseRealTime();
  }
  for (const DotProductLoop& loop : DotProductLoops()) {
    benchmark::RegisterBenchmark(("machine/int8/" + loop.instruction_set).c_str(), DotProducts, loop)
        ->Threads(num_threads)
        ->UseRealTime();
  }
  return true;
}();

}  // namespace
}  // namespace quire
