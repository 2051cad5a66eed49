// The stream of the CUDA runtime, for headers that must not include it: CudaStream is cudaStream_t.
#pragma once

struct CUstream_st;

namespace quire {

using CudaStream = CUstream_st*;

}  // namespace quire
