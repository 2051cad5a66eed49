// The kernels need their lanes first.
// clang-format off
#include "kernels/cpu/lanes_avx512.h"
#include "kernels/cpu/attention_bfloat16_impl.h"
#include "kernels/cpu/attention_int8_impl.h"
#include "kernels/cpu/attention_int4_impl.h"
// clang-format on

namespace quire {
namespace {

struct Avx512BFloat16 : WidenedPairs {
  static constexpr int kAccumulators = 24;  // Of 32 registers.
  static constexpr int kPartialSums = 4;

  // In memory order, the first of a pair is the lower half of 32 bits.
  static Pairs LoadPairs(const uint16_t* p) {
    const __m512i pairs = _mm512_loadu_si512(p);
    const __m512i upper_half = _mm512_set1_epi32(static_cast<int>(0xffff0000u));
    return {Lanes::AsFloats(_mm512_slli_epi32(pairs, 16)), Lanes::AsFloats(_mm512_and_si512(pairs, upper_half))};
  }
};

// A quad's words are the upper and the lower bytes of its integers.
struct Avx512Int8 {
  static constexpr int kAccumulators = 12;  // Of two registers each, of 32.
  using Codes = __m512i;
  struct Sums {
    __m512i upper, lower;
  };

  static Codes LoadCodes(const std::byte* p) { return _mm512_loadu_si512(p); }
  static void LoadLevels(const std::byte* p, Codes* codes) {
    const __m512i pairs = _mm512_loadu_si512(p), low = _mm512_set1_epi8(15);
    const __m512i levels = _mm512_broadcast_i32x4(_mm_load_si128(reinterpret_cast<const __m128i*>(kCentredLevels.of)));
    codes[0] = _mm512_shuffle_epi8(levels, _mm512_and_si512(pairs, low));
    codes[1] = _mm512_shuffle_epi8(levels, _mm512_and_si512(_mm512_srli_epi16(pairs, 4), low));
  }
  static Sums Zero() { return {_mm512_setzero_si512(), _mm512_setzero_si512()}; }
  static void PackWords(Ints x, int32_t* words) {
    // With 128 added, the second byte is the upper one, and the first is the lower one but for its sign bit.
    const __m512i bytes = _mm512_add_epi32(x, _mm512_set1_epi32(128));
    const __m128i quad = _mm_set_epi8(-1, -1, -1, -1, -1, -1, -1, -1, 12, 8, 4, 0, 13, 9, 5, 1);
    const __m512i in_lower_half = _mm512_shuffle_epi8(bytes, _mm512_broadcast_i32x4(quad));
    const __m512i packed = _mm512_permutexvar_epi64(_mm512_set_epi64(0, 0, 0, 0, 6, 4, 2, 0), in_lower_half);
    const __m256i sign_bits = _mm256_set1_epi64x(static_cast<int64_t>(0x8080808000000000u));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(words), _mm256_xor_si256(_mm512_castsi512_si256(packed), sign_bits));
  }
  template <int kStride>
  static Floats Butterfly(Floats x) {
    Floats other;  // Lane i ^ kStride.
    if constexpr (kStride == 1) other = _mm512_permute_ps(x, 0b10110001);
    if constexpr (kStride == 2) other = _mm512_permute_ps(x, 0b01001110);
    if constexpr (kStride == 4) other = _mm512_shuffle_f32x4(x, x, 0b10110001);
    if constexpr (kStride == 8) other = _mm512_shuffle_f32x4(x, x, 0b01001110);
    constexpr __mmask16 kSecond = kStride == 1 ? 0xaaaa : kStride == 2 ? 0xcccc : kStride == 4 ? 0xf0f0 : 0xff00;
    return _mm512_mask_sub_ps(_mm512_add_ps(x, other), kSecond, other, x);
  }
  template <int kCount>
  static Floats ShiftUp(Floats x) {
    return _mm512_castsi512_ps(_mm512_alignr_epi32(_mm512_castps_si512(x), _mm512_setzero_si512(), 16 - kCount));
  }
  static Sums AddQuad(const int32_t* words, Codes codes, Sums sums) {
    return {_mm512_dpbusd_epi32(sums.upper, codes, _mm512_set1_epi32(words[0])),
            _mm512_dpbusd_epi32(sums.lower, codes, _mm512_set1_epi32(words[1]))};
  }
  static Ints Total(const Sums& sums) { return _mm512_add_epi32(_mm512_slli_epi32(sums.upper, 8), sums.lower); }
};

}  // namespace

constinit const AttentionKernels kAvx512AttentionKernels = {"avx512",
                                                            kBFloat16Kernels<Avx512BFloat16>,
                                                            kInt8Kernels<Avx512Int8>,
                                                            kInt8Int4Kernels<Avx512Int8>,
                                                            kInt4Int8Kernels<Avx512Int8>,
                                                            kInt4Kernels<Avx512Int8>,
                                                            Merge,
                                                            Finish,
                                                            FinishRotated<Avx512Int8>};

}  // namespace quire
