// Matrix kernels of instruction sets that few machines have, with those instructions expressed in others.
//
// Included by files that are compiled for one instruction set: nothing inline may be defined here.
#pragma once

#include "kernels/cpu/matmul_kernels.h"

namespace quire {

#if defined(__x86_64__)
// As kAvx2VnniMatMulKernels; the 256-bit dot product has another encoding in AVX-512, with the same meaning. Needs
// InstructionSet::kAvx512Vnni.
extern const MatMulKernels kEmulatedAvx2VnniMatMulKernels;
// As kAmxMatMulKernels, on EmulatedTiles. Needs InstructionSet::kAvx512Vnni.
extern const MatMulKernels kEmulatedAmxMatMulKernels;
#endif

}  // namespace quire
