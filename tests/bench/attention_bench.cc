// Paged attention and KV append of one step, all 30 layers of SmolLM2-135M's shape: 9 query and 3 KV heads of 64.
#include <benchmark/benchmark.h>

#include <cmath>
#include <cstddef>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "kernels/cpu/attention.h"
#include "kernels/cpu/kv_cache.h"
#include "kernels/cpu/rope_append.h"
#include "tests/kernels/cpu/machine_peak.h"
#include "tests/kernels/cpu/paged_batch.h"
#include "tests/kernels/kv_types.h"

namespace quire {
namespace {

constexpr int kLayers = 30, kHeads = 9, kKvHeads = 3, kHeadDim = 64;

struct Step {
  Step(const std::vector<SequenceShape>& shapes, int page_size, const KvTypes& types)
      : random(1),
        batch(shapes, page_size, PagesFor(shapes, page_size), random),
        qkv(RandomMatrix(batch.view().num_tokens(), (kHeads + 2 * kKvHeads) * kHeadDim, random)),
        output(qkv.rows, kHeads * kHeadDim),
        cache(CpuKvCache::Create({.num_layers = kLayers,
                                  .num_kv_heads = kKvHeads,
                                  .head_dim = kHeadDim,
                                  .page_size = page_size,
                                  .num_pages = PagesFor(shapes, page_size),
                                  .key_dtype = types.key,
                                  .value_dtype = types.value})
                  .value()),
        frequencies(kHeadDim / 2, 0.01f) {
    // Touch all of it: untouched pages would all be the one zero page.
    std::fill_n(cache->data(), cache->bytes(), std::byte{0x3c});
  }

  int64_t KvBytes() const {
    int64_t tokens = 0;
    for (int32_t length : batch.view().context_lens) tokens += length;
    return tokens * cache->layout().BytesPerToken();
  }

  std::mt19937 random;
  PagedBatch batch;
  Matrix qkv, output;
  std::unique_ptr<CpuKvCache> cache;
  std::vector<float> frequencies;
};

void RunAttention(benchmark::State& state, const std::vector<SequenceShape>& shapes, const AttentionKernels* kernels,
                  const KvTypes& types) {
  Step step(shapes, 32, types);
  WorkerPool pool(static_cast<int>(AllowedProcessors().size()));
  PagedAttention attention(*kernels);
  AttentionArgs args;
  args.qkv = step.qkv.view();
  args.num_heads = kHeads;
  args.scale = 0.125f;
  args.kv_cache = step.cache.get();
  args.batch = step.batch.view();
  args.output = step.output.view();
  for (auto _ : state) {
    for (args.layer = 0; args.layer < kLayers; ++args.layer) attention.Run(args, pool);
  }
  state.SetBytesProcessed(state.iterations() * step.KvBytes());
  state.counters["of_read_peak"] = benchmark::Counter(static_cast<double>(step.KvBytes()) / PeakReadRate(),
                                                      benchmark::Counter::kIsIterationInvariantRate);
  double multiply_adds = 0;
  for (int32_t position : step.batch.view().positions)
    multiply_adds += 2.0 * (position + 1) * kHeads * kHeadDim * kLayers;
  state.counters["GMAC/s"] = benchmark::Counter(multiply_adds * 1e-9, benchmark::Counter::kIsIterationInvariantRate);
}

void RunRopeAppend(benchmark::State& state, const std::vector<SequenceShape>& shapes, const KvTypes& types) {
  Step step(shapes, 32, types);
  WorkerPool pool(static_cast<int>(AllowedProcessors().size()));
  RopeAppender appender;
  RopeAppendArgs args;
  args.qkv = step.qkv.view();
  args.num_heads = kHeads;
  args.rope = {RopeKind::kInterleaved, step.frequencies};
  args.kv_cache = step.cache.get();
  args.batch = step.batch.view();
  for (auto _ : state) {
    for (args.layer = 0; args.layer < kLayers; ++args.layer) appender.Run(args, pool);
  }
}

// Sequences of one shape, which have its first tokens in common.
std::vector<SequenceShape> Sharing(int num_sequences, SequenceShape shape) {
  std::vector<SequenceShape> shapes(num_sequences, shape);
  shapes[0].num_shared = 0;
  return shapes;
}

const int kRegistered = [] {
  const std::vector<std::pair<std::string, std::vector<SequenceShape>>> steps = {
      {"decode_1x128", {{128, 1}}},
      {"decode_1x1024", {{1024, 1}}},
      {"decode_1x4096", {{4096, 1}}},
      {"decode_1x8192", {{8192, 1}}},
      {"decode_1x16384", {{16384, 1}}},
      {"decode_16x512", std::vector<SequenceShape>(16, {512, 1})},
      {"decode_64x512", std::vector<SequenceShape>(64, {512, 1})},
      {"decode_64x150", std::vector<SequenceShape>(64, {150, 1})},
      {"decode_16x1124", std::vector<SequenceShape>(16, {1124, 1})},
      {"decode_16x1124_sharing_1024", Sharing(16, {1124, 1, 1024})},
      {"decode_16x4196", std::vector<SequenceShape>(16, {4196, 1})},
      {"decode_16x4196_sharing_4096", Sharing(16, {4196, 1, 4096})},
      {"prefill_1x128", {{128, 128}}},
      {"prefill_1x2048", {{2048, 2048}}},
      {"prefill_512_of_8192", {{8192, 512}}},
  };
  for (const auto& [name, shapes] : steps) {
    for (const KvTypes& types : kUsefulKv) {
      const std::string suffix = "/" + NameOf(types);
      for (const AttentionKernels* kernels : AttentionKernelsFor(SupportedInstructionSets().back())) {
        const std::string title = "attention/" + name + "/" + kernels->name + suffix;
        benchmark::RegisterBenchmark(title.c_str(), RunAttention, shapes, kernels, types)
            ->UseRealTime()
            ->MeasureProcessCPUTime()
            ->Unit(benchmark::kMillisecond);
      }
      benchmark::RegisterBenchmark(("rope_append/" + name + suffix).c_str(), RunRopeAppend, shapes, types)
          ->UseRealTime()
          ->Unit(benchmark::kMillisecond);
    }
  }
  return 0;
}();

}  // namespace
}  // namespace quire
