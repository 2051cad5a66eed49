// The kernels need their lanes first.
// clang-format off
#include "kernels/cpu/lanes_avx2.h"
#include "kernels/cpu/attention_kernels_impl.h"
// clang-format on

namespace quire {
namespace {

struct Avx2Attention : FloatElements {
  static constexpr int kAccumulators = 4;  // Of two registers each, of 16.
  static constexpr int kPartialSums = 1;

  // In memory order, the first of a pair is the lower half of 32 bits.
  static Pairs LoadPairs(const uint16_t* p) {
    const __m256i low = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    const __m256i high = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 16));
    const __m256i upper_half = _mm256_set1_epi32(static_cast<int>(0xffff0000u));
    return {AsFloats({_mm256_slli_epi32(low, 16), _mm256_slli_epi32(high, 16)}),
            AsFloats({_mm256_and_si256(low, upper_half), _mm256_and_si256(high, upper_half)})};
  }
};

}  // namespace

constinit const AttentionKernels kAvx2AttentionKernels = MakeAttentionKernels<Avx2Attention>("avx2");

}  // namespace quire
