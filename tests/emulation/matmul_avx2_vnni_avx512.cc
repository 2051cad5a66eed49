// The kernels for AVX-VNNI with the one instruction that is special to it in AVX-512's encoding.
#include "tests/emulation/emulated_kernels.h"

#if defined(__x86_64__)

#include "kernels/cpu/lanes_avx2_vnni.h"

namespace quire {
namespace {

struct EvexDotProduct {
  static __m256i Add(__m256i sums, __m256i codes, __m256i activations) {
    return _mm256_dpbusd_epi32(sums, codes, activations);
  }
};
using Lanes = VnniLanes<EvexDotProduct>;

}  // namespace
}  // namespace quire

// clang-format off: the kernels need their lanes first.
#include "kernels/cpu/matmul_kernels_impl.h"
// clang-format on

namespace quire {

constinit const MatMulKernels kEmulatedAvx2VnniMatMulKernels = MakeKernels();

}  // namespace quire

#endif
