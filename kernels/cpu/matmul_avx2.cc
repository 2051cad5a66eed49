// clang-format off: the kernels need their lanes first.
#include "kernels/cpu/lanes_avx2.h"
#include "kernels/cpu/matmul_kernels_impl.h"
// clang-format on

namespace quire {

constinit const MatMulKernels kAvx2MatMulKernels = MakeKernels();

}  // namespace quire
