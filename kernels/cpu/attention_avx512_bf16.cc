// The kernels need their lanes first.
// clang-format off
#include "kernels/cpu/lanes_avx512.h"
#include "kernels/cpu/attention_bfloat16_impl.h"
// clang-format on

namespace quire {
namespace {

// Queries and softmax weights are rounded to bfloat16, as K and V are, and one instruction multiplies and adds both of
// a pair: twice the multiplications, and nothing to widen.
struct Avx512Bf16 {
  static constexpr int kAccumulators = 24;  // Of 32 registers.
  static constexpr int kPartialSums = 4;
  using Element = uint16_t;
  using Pairs = __m512i;

  static void Narrow(Floats x, uint16_t* p) {
    const __m256bh narrow = _mm512_cvtneps_pbh(x);
    __builtin_memcpy(p, &narrow, sizeof(narrow));
  }
  static Pairs LoadPairs(const uint16_t* p) { return _mm512_loadu_si512(p); }
  static Floats AddPairs(const uint16_t* e, Pairs pairs, Floats sums) {
    int32_t both;
    __builtin_memcpy(&both, e, sizeof(both));
    return _mm512_dpbf16_ps(sums, (__m512bh)Lanes::BroadcastInt(both), (__m512bh)pairs);
  }
  // The element left out has the weight 0, but 0 * NaN would be NaN.
  static Floats AddFirst(const uint16_t* e, Pairs pairs, Floats sums) {
    return AddPairs(e, _mm512_and_si512(pairs, Lanes::BroadcastInt(0x0000ffff)), sums);
  }
  static Floats AddSecond(const uint16_t* e, Pairs pairs, Floats sums) {
    return AddPairs(e, _mm512_and_si512(pairs, Lanes::BroadcastInt(static_cast<int32_t>(0xffff0000u))), sums);
  }
};

}  // namespace

constinit const KvKernels kAvx512Bf16KvKernels = kBFloat16Kernels<Avx512Bf16>;

}  // namespace quire
