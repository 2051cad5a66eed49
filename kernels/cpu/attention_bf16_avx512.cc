// The kernels need their lanes first.
// clang-format off
#include "kernels/cpu/lanes_avx512.h"
#include "kernels/cpu/attention_kernels_impl.h"
// clang-format on

namespace quire {
namespace {

// Queries and softmax weights are rounded to bfloat16, which K and V are already, and an instruction multiplies and
// adds both of a pair.
struct Avx512Bf16Attention : Lanes {
  static constexpr int kAccumulators = 24;  // Of 32 registers.
  static constexpr int kPartialSums = 4;
  using Element = uint16_t;
  using Pairs = __m512i;

  static Floats Narrow(Floats x, uint16_t* p) {
    const __m256bh narrow = _mm512_cvtneps_pbh(x);
    __builtin_memcpy(p, &narrow, sizeof(narrow));
    return LoadBFloat16(p);
  }
  static Pairs LoadPairs(const uint16_t* p) { return _mm512_loadu_si512(p); }
  static Floats AddPairs(const uint16_t* e, Pairs pairs, Floats sums) {
    int32_t both;
    __builtin_memcpy(&both, e, sizeof(both));
    return _mm512_dpbf16_ps(sums, (__m512bh)BroadcastInt(both), (__m512bh)pairs);
  }
  // The element of the other half is 0, but 0 * NaN would be NaN.
  static Floats AddFirst(const uint16_t* e, Pairs pairs, Floats sums) {
    return AddPairs(e, _mm512_and_si512(pairs, BroadcastInt(0x0000ffff)), sums);
  }
  static Floats AddSecond(const uint16_t* e, Pairs pairs, Floats sums) {
    return AddPairs(e, _mm512_and_si512(pairs, BroadcastInt(static_cast<int32_t>(0xffff0000u))), sums);
  }
};

}  // namespace

constinit const AttentionKernels kAvx512Bf16AttentionKernels = MakeAttentionKernels<Avx512Bf16Attention>("avx512-bf16");

}  // namespace quire
