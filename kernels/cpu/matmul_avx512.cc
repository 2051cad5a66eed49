// clang-format off: the kernels need their lanes first.
#include "kernels/cpu/lanes_avx512.h"
#include "kernels/cpu/matmul_kernels_impl.h"
// clang-format on

namespace quire {

constinit const MatMulKernels kAvx512MatMulKernels = MakeKernels();

}  // namespace quire
