// The kernels need their lanes first.
// clang-format off
#include "kernels/cpu/lanes_portable.h"
#include "kernels/cpu/attention_kernels_impl.h"
// clang-format on
#include "kernels/bfloat16.h"

namespace quire {
namespace {

struct PortableAttention : FloatElements {
  static constexpr int kAccumulators = 4;
  static constexpr int kPartialSums = 1;

  static Pairs LoadPairs(const uint16_t* p) {
    return {Each<Floats>([&](int i) { return FromBFloat16(p[2 * i]); }),
            Each<Floats>([&](int i) { return FromBFloat16(p[2 * i + 1]); })};
  }
};

}  // namespace

constinit const AttentionKernels kPortableAttentionKernels = MakeAttentionKernels<PortableAttention>("portable");

}  // namespace quire
