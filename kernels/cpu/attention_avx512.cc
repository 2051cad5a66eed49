// The kernels need their lanes first.
// clang-format off
#include "kernels/cpu/lanes_avx512.h"
#include "kernels/cpu/attention_kernels_impl.h"
// clang-format on

namespace quire {
namespace {

struct Avx512Attention : FloatElements {
  static constexpr int kAccumulators = 24;  // Of 32 registers.
  static constexpr int kPartialSums = 4;

  // In memory order, the first of a pair is the lower half of 32 bits.
  static Pairs LoadPairs(const uint16_t* p) {
    const __m512i pairs = _mm512_loadu_si512(p);
    const __m512i upper_half = _mm512_set1_epi32(static_cast<int>(0xffff0000u));
    return {AsFloats(_mm512_slli_epi32(pairs, 16)), AsFloats(_mm512_and_si512(pairs, upper_half))};
  }
};

}  // namespace

constinit const AttentionKernels kAvx512AttentionKernels = MakeAttentionKernels<Avx512Attention>("avx512");

}  // namespace quire
