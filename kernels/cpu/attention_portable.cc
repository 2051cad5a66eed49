#include "kernels/bfloat16.h"
#include "kernels/cpu/attention_kernels_impl.h"

namespace quire {
namespace {

struct PortableVector {
  static constexpr int kAccumulators = 4;
  static constexpr int kPartialSums = 1;
  float v[16];

  template <typename Function>
  static PortableVector Map(Function function) {
    PortableVector result;
    for (int i = 0; i < 16; ++i) result.v[i] = function(i);
    return result;
  }
  static PortableVector Zero() { return {}; }
  static PortableVector Broadcast(float x) {
    return Map([&](int) { return x; });
  }
  static PortableVector Load(const float* p) {
    return Map([&](int i) { return p[i]; });
  }
  static void Store(float* p, const PortableVector& x) {
    for (int i = 0; i < 16; ++i) p[i] = x.v[i];
  }
  static void LoadPairs(const uint16_t* p, PortableVector* even, PortableVector* odd) {
    *even = Map([&](int i) { return FromBFloat16(p[2 * i]); });
    *odd = Map([&](int i) { return FromBFloat16(p[2 * i + 1]); });
  }
  static PortableVector Add(const PortableVector& a, const PortableVector& b) {
    return Map([&](int i) { return a.v[i] + b.v[i]; });
  }
  static PortableVector Subtract(const PortableVector& a, const PortableVector& b) {
    return Map([&](int i) { return a.v[i] - b.v[i]; });
  }
  static PortableVector Multiply(const PortableVector& a, const PortableVector& b) {
    return Map([&](int i) { return a.v[i] * b.v[i]; });
  }
  // Not fused: without the instruction, std::fma is a slow function.
  static PortableVector MultiplyAdd(const PortableVector& a, const PortableVector& b, const PortableVector& c) {
    return Map([&](int i) { return a.v[i] * b.v[i] + c.v[i]; });
  }
  // b where a is NaN.
  static PortableVector Max(const PortableVector& a, const PortableVector& b) {
    return Map([&](int i) { return a.v[i] > b.v[i] ? a.v[i] : b.v[i]; });
  }
  // Adding and subtracting 1.5 * 2^23 rounds to an integer, for the magnitudes that Exp2 does not turn to zero.
  static PortableVector Round(const PortableVector& a) {
    return Map([&](int i) { return (a.v[i] + 12582912.0f) - 12582912.0f; });
  }
  // Builds 2^n from its exponent bits: right for -126 <= n <= 127. A number that is out of range, or not one, must not
  // be converted to an integer.
  static PortableVector ScaleByPowerOf2(const PortableVector& a, const PortableVector& n) {
    return Map([&](int i) {
      const int exponent = n.v[i] >= -126 ? static_cast<int>(n.v[i]) : 0;
      return a.v[i] * std::bit_cast<float>((exponent + 127) << 23);
    });
  }
  static PortableVector ZeroWhereLess(const PortableVector& x, float bound, const PortableVector& a) {
    return Map([&](int i) { return x.v[i] < bound ? 0.0f : a.v[i]; });
  }
};

}  // namespace

const AttentionKernels kPortableAttentionKernels = MakeAttentionKernels<PortableVector>();

}  // namespace quire
