#include "kernels/cpu/lanes_avx2_vnni.h"

namespace quire {
namespace {

struct VexDotProduct {
  static __m256i Add(__m256i sums, __m256i codes, __m256i activations) {
    return _mm256_dpbusd_avx_epi32(sums, codes, activations);
  }
};
using Lanes = VnniLanes<VexDotProduct>;

}  // namespace
}  // namespace quire

// clang-format off: the kernels need their lanes first.
#include "kernels/cpu/matmul_kernels_impl.h"
// clang-format on

namespace quire {

constinit const MatMulKernels kAvx2VnniMatMulKernels = MakeKernels();

}  // namespace quire
