// clang-format off: the kernels need their lanes first.
#include "kernels/cpu/lanes_portable.h"
#include "kernels/cpu/matmul_kernels_impl.h"
// clang-format on

namespace quire {

constinit const MatMulKernels kPortableMatMulKernels = MakeKernels();

}  // namespace quire
