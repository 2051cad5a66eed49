#if defined(__x86_64__)

#include <immintrin.h>

#include "kernels/cpu/attention_kernels_impl.h"

namespace quire {
namespace {

struct Avx2Vector {
  static constexpr int kAccumulators = 4;  // Of two registers each, of 16.
  static constexpr int kPartialSums = 1;
  __m256 low, high;

  static Avx2Vector Zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
  static Avx2Vector Broadcast(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
  static Avx2Vector Load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
  static void Store(float* p, Avx2Vector x) {
    _mm256_storeu_ps(p, x.low);
    _mm256_storeu_ps(p + 8, x.high);
  }
  // Splits 16 pairs of bfloat16: in memory order the first of a pair is the lower half of 32 bits.
  static void LoadPairs(const uint16_t* p, Avx2Vector* even, Avx2Vector* odd) {
    const __m256i low = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    const __m256i high = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 16));
    const __m256i upper_half = _mm256_set1_epi32(static_cast<int>(0xffff0000u));
    *even = {_mm256_castsi256_ps(_mm256_slli_epi32(low, 16)), _mm256_castsi256_ps(_mm256_slli_epi32(high, 16))};
    *odd = {_mm256_castsi256_ps(_mm256_and_si256(low, upper_half)),
            _mm256_castsi256_ps(_mm256_and_si256(high, upper_half))};
  }
  static Avx2Vector Add(Avx2Vector a, Avx2Vector b) {
    return {_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)};
  }
  static Avx2Vector Subtract(Avx2Vector a, Avx2Vector b) {
    return {_mm256_sub_ps(a.low, b.low), _mm256_sub_ps(a.high, b.high)};
  }
  static Avx2Vector Multiply(Avx2Vector a, Avx2Vector b) {
    return {_mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.high, b.high)};
  }
  static Avx2Vector MultiplyAdd(Avx2Vector a, Avx2Vector b, Avx2Vector c) {
    return {_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high)};
  }
  // b where a is NaN.
  static Avx2Vector Max(Avx2Vector a, Avx2Vector b) {
    return {_mm256_max_ps(a.low, b.low), _mm256_max_ps(a.high, b.high)};
  }
  static Avx2Vector Round(Avx2Vector a) {
    constexpr int kMode = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
    return {_mm256_round_ps(a.low, kMode), _mm256_round_ps(a.high, kMode)};
  }
  static Avx2Vector ScaleByPowerOf2(Avx2Vector a, Avx2Vector n) {
    return {ScaleHalf(a.low, n.low), ScaleHalf(a.high, n.high)};
  }
  static Avx2Vector ZeroWhereLess(Avx2Vector x, float bound, Avx2Vector a) {
    const __m256 b = _mm256_set1_ps(bound);
    return {_mm256_and_ps(_mm256_cmp_ps(x.low, b, _CMP_NLT_UQ), a.low),
            _mm256_and_ps(_mm256_cmp_ps(x.high, b, _CMP_NLT_UQ), a.high)};
  }

 private:
  // Builds 2^n from its exponent bits: right for -126 <= n <= 127, and NaN for a NaN.
  static __m256 ScaleHalf(__m256 a, __m256 n) {
    const __m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    return _mm256_mul_ps(a, _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23)));
  }
};

}  // namespace

const AttentionKernels kAvx2AttentionKernels = MakeAttentionKernels<Avx2Vector>();

}  // namespace quire

#endif
