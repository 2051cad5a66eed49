#if defined(__x86_64__)

#include <immintrin.h>

#include "kernels/cpu/attention_kernels_impl.h"

namespace quire {
namespace {

struct Avx512Vector {
  static constexpr int kAccumulators = 24;  // Of 32 registers.
  static constexpr int kPartialSums = 4;
  __m512 v;

  static Avx512Vector Zero() { return {_mm512_setzero_ps()}; }
  static Avx512Vector Broadcast(float x) { return {_mm512_set1_ps(x)}; }
  static Avx512Vector Load(const float* p) { return {_mm512_loadu_ps(p)}; }
  static void Store(float* p, Avx512Vector x) { _mm512_storeu_ps(p, x.v); }
  // Splits 16 pairs of bfloat16: in memory order the first of a pair is the lower half of 32 bits.
  static void LoadPairs(const uint16_t* p, Avx512Vector* even, Avx512Vector* odd) {
    const __m512i pairs = _mm512_loadu_si512(p);
    even->v = _mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16));
    odd->v = _mm512_castsi512_ps(_mm512_and_si512(pairs, _mm512_set1_epi32(static_cast<int>(0xffff0000u))));
  }
  static Avx512Vector Add(Avx512Vector a, Avx512Vector b) { return {_mm512_add_ps(a.v, b.v)}; }
  static Avx512Vector Subtract(Avx512Vector a, Avx512Vector b) { return {_mm512_sub_ps(a.v, b.v)}; }
  static Avx512Vector Multiply(Avx512Vector a, Avx512Vector b) { return {_mm512_mul_ps(a.v, b.v)}; }
  static Avx512Vector MultiplyAdd(Avx512Vector a, Avx512Vector b, Avx512Vector c) {
    return {_mm512_fmadd_ps(a.v, b.v, c.v)};
  }
  // b where a is NaN.
  static Avx512Vector Max(Avx512Vector a, Avx512Vector b) { return {_mm512_max_ps(a.v, b.v)}; }
  static Avx512Vector Round(Avx512Vector a) {
    return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
  }
  static Avx512Vector ScaleByPowerOf2(Avx512Vector a, Avx512Vector n) { return {_mm512_scalef_ps(a.v, n.v)}; }
  static Avx512Vector ZeroWhereLess(Avx512Vector x, float bound, Avx512Vector a) {
    const __mmask16 keep = _mm512_cmp_ps_mask(x.v, _mm512_set1_ps(bound), _CMP_NLT_UQ);
    return {_mm512_maskz_mov_ps(keep, a.v)};
  }
};

}  // namespace

const AttentionKernels kAvx512AttentionKernels = MakeAttentionKernels<Avx512Vector>();

}  // namespace quire

#endif
