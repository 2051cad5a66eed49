// Sixteen lanes in plain C++: the vocabulary of the kernels in *_impl.h where there are no vectors to count on.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/cpu/matmul_kernels.h"
#include "kernels/float16.h"

namespace quire {
namespace {

struct Lanes {
  struct Floats {
    float lane[16];
  };
  struct Ints {
    int32_t lane[16];
  };

  template <typename Out, typename Function>
  static Out Each(Function function) {
    Out out;
    for (int i = 0; i < 16; ++i) out.lane[i] = function(i);
    return out;
  }

  static Floats Load(const float* p) {
    return Each<Floats>([&](int i) { return p[i]; });
  }
  static Floats LoadFloat16(const uint16_t* p) {
    return Each<Floats>([&](int i) { return FromFloat16(p[i]); });
  }
  static Floats LoadBFloat16(const uint16_t* p) {
    return Each<Floats>([&](int i) { return BitCast<float>(uint32_t{p[i]} << 16); });
  }
  static void Store(Floats x, float* p) {
    for (int i = 0; i < 16; ++i) p[i] = x.lane[i];
  }
  static Floats Broadcast(float x) {
    return Each<Floats>([&](int) { return x; });
  }
  static Floats Add(Floats x, Floats y) {
    return Each<Floats>([&](int i) { return x.lane[i] + y.lane[i]; });
  }
  static Floats Mul(Floats x, Floats y) {
    return Each<Floats>([&](int i) { return x.lane[i] * y.lane[i]; });
  }
  static Floats Div(Floats x, Floats y) {
    return Each<Floats>([&](int i) { return x.lane[i] / y.lane[i]; });
  }
  // Not fused here: a library call for each would cost more than all the rest.
  static Floats Fma(Floats x, Floats y, Floats z) {
    return Each<Floats>([&](int i) { return x.lane[i] * y.lane[i] + z.lane[i]; });
  }
  static Floats Clamp(Floats x, float low, float high) {
    return Each<Floats>([&](int i) {
      const float below = x.lane[i] < high ? x.lane[i] : high;
      return below > low ? below : low;
    });
  }
  // y where x is NaN.
  static Floats Max(Floats x, Floats y) {
    return Each<Floats>([&](int i) { return x.lane[i] > y.lane[i] ? x.lane[i] : y.lane[i]; });
  }
  // y, but 0 where x < bound; a NaN is not less.
  static Floats ZeroWhereLess(Floats x, float bound, Floats y) {
    return Each<Floats>([&](int i) { return x.lane[i] < bound ? 0 : y.lane[i]; });
  }

  static Ints BroadcastInt(int32_t x) {
    return Each<Ints>([&](int) { return x; });
  }
  static Ints AddInt(Ints x, Ints y) {
    return Each<Ints>([&](int i) { return x.lane[i] + y.lane[i]; });
  }
  static Ints SubInt(Ints x, Ints y) {
    return Each<Ints>([&](int i) { return x.lane[i] - y.lane[i]; });
  }
  static Ints MaxInt(Ints x, Ints y) {
    return Each<Ints>([&](int i) { return x.lane[i] > y.lane[i] ? x.lane[i] : y.lane[i]; });
  }
  template <int kBits>
  static Ints ShiftLeft(Ints x) {
    return Each<Ints>([&](int i) { return static_cast<int32_t>(static_cast<uint32_t>(x.lane[i]) << kBits); });
  }
  template <int kBits>
  static Ints ShiftRight(Ints x) {
    return Each<Ints>([&](int i) { return x.lane[i] >> kBits; });
  }
  static Floats ToFloats(Ints x) {
    return Each<Floats>([&](int i) { return static_cast<float>(x.lane[i]); });
  }
  static Floats AsFloats(Ints x) {
    return Each<Floats>([&](int i) { return BitCast<float>(x.lane[i]); });
  }
  static Ints MagnitudeBits(Floats x) {
    return Each<Ints>([&](int i) { return BitCast<int32_t>(x.lane[i]) & 0x7fffffff; });
  }
  // To nearest, ties to even, for |x| < 2^22: above 1.5 * 2^23 a float has no room for fractions. Anything else, NaN
  // too, gives some integer.
  static Ints Round(Floats x) {
    return Each<Ints>([&](int i) {
      return static_cast<int32_t>(BitCast<uint32_t>(x.lane[i] + 12582912.0f) - BitCast<uint32_t>(12582912.0f));
    });
  }
  static int32_t ReduceMax(Ints x) {
    int32_t max = x.lane[0];
    for (int32_t value : x.lane) max = value > max ? value : max;
    return max;
  }
  static int32_t ReduceAdd(Ints x) {
    int32_t sum = 0;
    for (int32_t value : x.lane) sum += value;
    return sum;
  }
  // The low bytes; values are within int8.
  static void StoreInt8(Ints x, int8_t* p) {
    for (int i = 0; i < 16; ++i) p[i] = static_cast<int8_t>(x.lane[i]);
  }

  // Rows whose dot products with a group are made together, at most: as many as registers have room for.
  static constexpr int kDotRows = 8;
  // The same of residuals, of which there are few.
  static constexpr int kResidualRows = 1;

  // A group of weights. They stay where they are: there are too few registers.
  template <int kCodeBits>
  struct Codes {
    const uint8_t* bytes;
  };
  template <int kCodeBits>
  static Codes<kCodeBits> LoadCodes(const uint8_t* codes) {
    return {codes};
  }

  // Adds to sums[row] the products of features [4 * kFirst, 4 * (kFirst + kCount)) of a group of codes and of each row.
  template <int kCodeBits, int kFirst, int kCount, int kRows>
  static void AddDots(const Codes<kCodeBits>& group, const int8_t (*activations)[kGroupSize], Ints* sums) {
    const uint8_t* codes = group.bytes;
    for (int quad = kFirst; quad < kFirst + kCount; ++quad) {
      int16_t weights[4][16];
      for (int lane = 0; lane < 16; ++lane) {
        for (int i = 0; i < 4; ++i) {
          weights[i][lane] = kCodeBits == 8 ? codes[quad * 64 + lane * 4 + i]
                                            : codes[quad % 4 * 64 + lane * 4 + i] >> (quad / 4 * 4) & 15;
        }
      }
      for (int row = 0; row < kRows; ++row) {
        for (int i = 0; i < 4; ++i) {
          const int32_t activation = activations[row][quad * 4 + i];
          for (int lane = 0; lane < 16; ++lane) sums[row].lane[lane] += weights[i][lane] * activation;
        }
      }
    }
  }

 private:
  template <typename Out, typename In>
  static Out BitCast(In in) {
    static_assert(sizeof(Out) == sizeof(In));
    Out out;
    std::memcpy(&out, &in, sizeof(out));
    return out;
  }
};

}  // namespace
}  // namespace quire
