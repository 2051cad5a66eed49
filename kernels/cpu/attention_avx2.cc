// The kernels need their lanes first.
// clang-format off
#include "kernels/cpu/lanes_avx2.h"
#include "kernels/cpu/attention_bfloat16_impl.h"
#include "kernels/cpu/attention_int8_impl.h"
#include "kernels/cpu/attention_int4_impl.h"
// clang-format on

namespace quire {
namespace {

struct Avx2BFloat16 : WidenedPairs {
  static constexpr int kAccumulators = 4;  // Of two registers each, of 16.
  static constexpr int kPartialSums = 1;

  // In memory order, the first of a pair is the lower half of 32 bits.
  static Pairs LoadPairs(const uint16_t* p) {
    const __m256i low = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    const __m256i high = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 16));
    const __m256i upper_half = _mm256_set1_epi32(static_cast<int>(0xffff0000u));
    return {Lanes::AsFloats({_mm256_slli_epi32(low, 16), _mm256_slli_epi32(high, 16)}),
            Lanes::AsFloats({_mm256_and_si256(low, upper_half), _mm256_and_si256(high, upper_half)})};
  }
};

// Codes up to 255 would saturate the 8-bit multiplication, so they are widened to 16 bits, which hold a whole
// integer. A quad's words are its even and its odd integers.
struct Avx2Int8 {
  static constexpr int kAccumulators = 4;
  using Sums = Ints;
  struct Codes {
    Ints even, odd;
  };

  static Codes LoadCodes(const std::byte* p) {
    return Widen(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)),
                 _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 32)));
  }
  static void LoadLevels(const std::byte* p, Codes* codes) {
    const __m256i low = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    const __m256i high = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 32));
    codes[0] = Widen(LevelsOf(low), LevelsOf(high));
    codes[1] = Widen(LevelsOf(_mm256_srli_epi16(low, 4)), LevelsOf(_mm256_srli_epi16(high, 4)));
  }
  static Sums Zero() { return Lanes::BroadcastInt(0); }
  static void PackWords(Ints x, int32_t* words) {
    PackTwoQuads(x.low, words);
    PackTwoQuads(x.high, words + 2 * kWordsPerQuad);
  }
  template <int kStride>
  static Floats Butterfly(Floats x) {
    if constexpr (kStride == 8) return {_mm256_add_ps(x.low, x.high), _mm256_sub_ps(x.low, x.high)};
    return {ButterflyHalf<kStride>(x.low), ButterflyHalf<kStride>(x.high)};
  }
  template <int kCount>
  static Floats ShiftUp(Floats x) {
    if constexpr (kCount == 8) return {_mm256_setzero_ps(), x.low};
    const Ints four = {_mm256_castps_si256(_mm256_permute2f128_ps(x.low, x.low, 0x08)),
                       _mm256_castps_si256(_mm256_permute2f128_ps(x.low, x.high, 0x21))};
    if constexpr (kCount == 4) return Lanes::AsFloats(four);
    // Within each 128 bits.
    constexpr int kBytes = 16 - 4 * (kCount % 4);
    return Lanes::AsFloats({_mm256_alignr_epi8(_mm256_castps_si256(x.low), four.low, kBytes),
                            _mm256_alignr_epi8(_mm256_castps_si256(x.high), four.high, kBytes)});
  }
  static Sums AddQuad(const int32_t* words, const Codes& codes, Sums sums) {
    const __m256i even = _mm256_set1_epi32(words[0]), odd = _mm256_set1_epi32(words[1]);
    sums.low = _mm256_add_epi32(sums.low, _mm256_madd_epi16(codes.even.low, even));
    sums.high = _mm256_add_epi32(sums.high, _mm256_madd_epi16(codes.even.high, even));
    sums.low = _mm256_add_epi32(sums.low, _mm256_madd_epi16(codes.odd.low, odd));
    sums.high = _mm256_add_epi32(sums.high, _mm256_madd_epi16(codes.odd.high, odd));
    return sums;
  }
  static Ints Total(const Sums& sums) { return sums; }

 private:
  // Bytes as even and odd integers of 16 bits.
  static Codes Widen(__m256i low, __m256i high) {
    const __m256i even_byte = _mm256_set1_epi16(0xff);
    return {{_mm256_and_si256(low, even_byte), _mm256_and_si256(high, even_byte)},
            {_mm256_srli_epi16(low, 8), _mm256_srli_epi16(high, 8)}};
  }
  // Of the low half of each byte.
  static __m256i LevelsOf(__m256i codes) {
    const __m128i levels = _mm_load_si128(reinterpret_cast<const __m128i*>(kCentredLevels.of));
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(levels), _mm256_and_si256(codes, _mm256_set1_epi8(15)));
  }
  template <int kStride>
  static __m256 ButterflyHalf(__m256 x) {
    __m256 other;  // Lane i ^ kStride.
    if constexpr (kStride == 1) other = _mm256_permute_ps(x, 0b10110001);
    if constexpr (kStride == 2) other = _mm256_permute_ps(x, 0b01001110);
    if constexpr (kStride >= 4) other = _mm256_permute2f128_ps(x, x, 1);
    constexpr int kSecond = kStride == 1 ? 0xaa : kStride == 2 ? 0xcc : 0xf0;
    return _mm256_blend_ps(_mm256_add_ps(x, other), _mm256_sub_ps(other, x), kSecond);
  }
  static void PackTwoQuads(__m256i x, int32_t* words) {
    const __m256i lower_half = _mm256_set1_epi32(0xffff);
    const __m256i last_two = _mm256_slli_epi32(_mm256_shuffle_epi32(x, 0b1110), 16);
    const __m256i packed = _mm256_or_si256(_mm256_and_si256(x, lower_half), last_two);
    // The lower half of each 128 bits.
    const __m256i gathered = _mm256_permute4x64_epi64(packed, 0b1000);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(words), _mm256_castsi256_si128(gathered));
  }
};

}  // namespace

constinit const AttentionKernels kAvx2AttentionKernels = {"avx2",
                                                          kBFloat16Kernels<Avx2BFloat16>,
                                                          kInt8Kernels<Avx2Int8>,
                                                          kInt8Int4Kernels<Avx2Int8>,
                                                          kInt4Int8Kernels<Avx2Int8>,
                                                          kInt4Kernels<Avx2Int8>,
                                                          Merge,
                                                          Finish,
                                                          FinishRotated<Avx2Int8>};

}  // namespace quire
