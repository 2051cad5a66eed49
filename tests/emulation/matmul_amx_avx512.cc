// The kernels for AMX with emulated tiles.
#include "tests/emulation/emulated_kernels.h"

#if defined(__x86_64__)

// clang-format off: the kernels need their lanes first.
#include "kernels/cpu/lanes_avx512.h"
#include "kernels/cpu/matmul_kernels_impl.h"
#include "kernels/cpu/tile_kernels_impl.h"
// clang-format on
#include "tests/emulation/emulated_tiles.h"

namespace quire {

constinit const MatMulKernels kEmulatedAmxMatMulKernels = MakeTileKernels<EmulatedTiles>();

}  // namespace quire

#endif
