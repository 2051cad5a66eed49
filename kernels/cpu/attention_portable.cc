// The kernels need their lanes first.
// clang-format off
#include "kernels/cpu/lanes_portable.h"
#include "kernels/cpu/attention_bfloat16_impl.h"
#include "kernels/cpu/attention_int8_impl.h"
#include "kernels/cpu/attention_int4_impl.h"
// clang-format on
#include <cstring>

#include "kernels/bfloat16.h"

namespace quire {
namespace {

struct PortableBFloat16 : WidenedPairs {
  static constexpr int kAccumulators = 4;
  static constexpr int kPartialSums = 1;

  static Pairs LoadPairs(const uint16_t* p) {
    return {Lanes::Each<Floats>([&](int i) { return FromBFloat16(p[2 * i]); }),
            Lanes::Each<Floats>([&](int i) { return FromBFloat16(p[2 * i + 1]); })};
  }
};

// A quad's words are its integers, in 16 bits each.
struct PortableInt8 {
  static constexpr int kAccumulators = 4;
  using Sums = Ints;
  struct Codes {
    int32_t lane[4][16];
  };

  static Codes LoadCodes(const std::byte* p) {
    Codes codes;
    for (int i = 0; i < 4; ++i) {
      for (int lane = 0; lane < 16; ++lane) codes.lane[i][lane] = static_cast<int32_t>(p[4 * lane + i]);
    }
    return codes;
  }
  static void LoadLevels(const std::byte* p, Codes* codes) {
    const Codes pairs = LoadCodes(p);
    for (int i = 0; i < 4; ++i) {
      for (int lane = 0; lane < 16; ++lane) {
        codes[0].lane[i][lane] = kCentredLevels.of[pairs.lane[i][lane] & 15];
        codes[1].lane[i][lane] = kCentredLevels.of[pairs.lane[i][lane] >> 4];
      }
    }
  }
  static Sums Zero() { return Lanes::BroadcastInt(0); }
  static void PackWords(Ints x, int32_t* words) {
    for (int i = 0; i < 16; ++i) {
      const auto integer = static_cast<int16_t>(x.lane[i]);
      std::memcpy(reinterpret_cast<std::byte*>(words + i / 4 * kWordsPerQuad) + 2 * (i % 4), &integer, 2);
    }
  }
  template <int kStride>
  static Floats Butterfly(const Floats& x) {
    return Lanes::Each<Floats>([&](int i) {
      const float other = x.lane[i ^ kStride];
      return i & kStride ? other - x.lane[i] : x.lane[i] + other;
    });
  }
  template <int kCount>
  static Floats ShiftUp(const Floats& x) {
    return Lanes::Each<Floats>([&](int i) { return i < kCount ? 0 : x.lane[i - kCount]; });
  }
  static Sums AddQuad(const int32_t* words, const Codes& codes, Sums sums) {
    int16_t integers[4];
    std::memcpy(integers, words, sizeof(integers));
    for (int i = 0; i < 4; ++i) {
      for (int lane = 0; lane < 16; ++lane) sums.lane[lane] += integers[i] * codes.lane[i][lane];
    }
    return sums;
  }
  static Ints Total(const Sums& sums) { return sums; }
};

}  // namespace

constinit const AttentionKernels kPortableAttentionKernels = {"portable",
                                                              kBFloat16Kernels<PortableBFloat16>,
                                                              kInt8Kernels<PortableInt8>,
                                                              kInt8Int4Kernels<PortableInt8>,
                                                              kInt4Int8Kernels<PortableInt8>,
                                                              kInt4Kernels<PortableInt8>,
                                                              Merge,
                                                              Finish,
                                                              FinishRotated<PortableInt8>};

}  // namespace quire
