#include "tests/kernels/cpu/machine_peak.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <thread>

#include "kernels/cpu/cpu_features.h"
#include "kernels/cpu/worker_pool.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace quire {
namespace {

constexpr int64_t kReadBytes = 96'000'000;
constexpr int kRepetitions = 8;

template <typename Work>
double Seconds(Work work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// The shortest time that all processors take to do `work(thread)` once each.
template <typename Work>
double BestSeconds(Work work) {
  double best = 1e300;
  const int num_threads = static_cast<int>(AllowedProcessors().size());
  for (int i = 0; i < kRepetitions; ++i) {
    best = std::min(best, Seconds([&] {
                      std::vector<std::thread> threads;
                      for (int thread = 0; thread < num_threads; ++thread) threads.emplace_back(work, thread);
                      for (std::thread& thread : threads) thread.join();
                    }));
  }
  return best;
}

#if defined(__x86_64__)

// Enough accumulators to hide the latency of each addition to one of them.
constexpr int kAccumulators = 12;

__attribute__((target("avx2"))) void DotProductsAvx2(int64_t turns) {
  __m256i sums[kAccumulators] = {};
  __m256i a = _mm256_set1_epi8(3), b = _mm256_set1_epi8(5);
  const __m256i ones = _mm256_set1_epi16(1);
  for (int64_t i = 0; i < turns; ++i) {
    asm volatile("" : "+x"(a), "+x"(b));  // So that no product is computed once for all.
#pragma GCC unroll 12
    for (__m256i& sum : sums) {
      sum = _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(a, b), ones));
      asm volatile("" : "+x"(sum), "+x"(a));
    }
  }
}

__attribute__((target("avx512f,avx512vnni"))) void DotProductsAvx512Vnni(int64_t turns) {
  __m512i sums[kAccumulators] = {};
  __m512i a = _mm512_set1_epi8(3), b = _mm512_set1_epi8(5);
  for (int64_t i = 0; i < turns; ++i) {
    asm volatile("" : "+v"(a), "+v"(b));
#pragma GCC unroll 12
    for (__m512i& sum : sums) {
      sum = _mm512_dpbusd_epi32(sum, a, b);
      asm volatile("" : "+v"(sum), "+v"(a));
    }
  }
}

__attribute__((target("avx2"))) uint64_t ReadAllAvx2(std::span<const uint64_t> words) {
  __m256i sums[8] = {};
  size_t i = 0;
  for (; i + 32 <= words.size(); i += 32) {
#pragma GCC unroll 8
    for (size_t j = 0; j < 8; ++j) {
      const auto* address = reinterpret_cast<const __m256i*>(words.data() + i + 4 * j);
      sums[j] = _mm256_add_epi64(sums[j], _mm256_loadu_si256(address));
    }
  }
  uint64_t total = 0;
  for (const __m256i& sum : sums) {
    uint64_t parts[4];
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(parts), sum);
    for (const uint64_t part : parts) total += part;
  }
  for (; i < words.size(); ++i) total += words[i];
  return total;
}

#endif

}  // namespace

uint64_t ReadAll(std::span<const uint64_t> words) {
  uint64_t total = 0;
#if defined(__x86_64__)
  static const bool has_avx2 = SupportedInstructionSets().back() >= InstructionSet::kAvx2;
  if (has_avx2) {
    total = ReadAllAvx2(words);
  } else
#endif
  {
    for (const uint64_t word : words) total += word;
  }
  asm volatile("" : : "r"(total) : "memory");  // So that the compiler neither leaves out a reading nor shares one.
  return total;
}

const std::vector<DotProductLoop>& DotProductLoops() {
  static const std::vector<DotProductLoop> loops = [] {
    std::vector<DotProductLoop> found;
#if defined(__x86_64__)
    const InstructionSet best = SupportedInstructionSets().back();
    const auto add = [&](InstructionSet instruction_set, int bytes, void (*run)(int64_t)) {
      if (best < instruction_set) return;
      found.push_back({std::string(NameOf(instruction_set)), int64_t{kAccumulators} * bytes, run});
    };
    add(InstructionSet::kAvx2, 32, DotProductsAvx2);
    add(InstructionSet::kAvx512Vnni, 64, DotProductsAvx512Vnni);
#endif
    return found;
  }();
  return loops;
}

double PeakReadRate() {
  static const double rate = [] {
    constexpr int kPasses = 4;  // So that starting threads does not count.
    const size_t num_threads = AllowedProcessors().size();
    const std::vector<uint64_t> words(kReadBytes / 8, 1);
    const size_t share = words.size() / num_threads;
    const double seconds = BestSeconds([&](int thread) {
      for (int i = 0; i < kPasses; ++i) ReadAll(std::span(words).subspan(thread * share, share));
    });
    return static_cast<double>(kPasses * 8 * share * num_threads) / seconds;
  }();
  return rate;
}

double PeakDotProductRate(const std::string& instruction_set) {
  static const std::map<std::string, double> rates = [] {
    constexpr int64_t kTurns = 1'000'000;
    std::map<std::string, double> found;
    for (const DotProductLoop& loop : DotProductLoops()) {
      const double seconds = BestSeconds([&](int) { loop.run(kTurns); });
      const double work = static_cast<double>(kTurns * loop.multiply_adds_per_turn * AllowedProcessors().size());
      found[loop.instruction_set] = work / seconds;
    }
    return found;
  }();
  const auto found = rates.find(instruction_set);
  return found == rates.end() ? 0 : found->second;
}

}  // namespace quire
