// Attention of a plan's large items on devices of compute capability 9.0: the same sums to the bit as
// kernels/cuda/attention_tile.cuh has, by instructions of whole warpgroups.
#pragma once

#include "kernels/cuda/attention.h"
#include "kernels/cuda/stream.h"
#include "kernels/paged_kv.h"

namespace quire {

inline constexpr int kHopperTileRows = 128;  // The most query rows of an item.

// Whether this device and this program's machine code have the kernel, and it serves such heads.
bool HasHopperAttention(int head_dim, KvDType keys, KvDType values);

// Puts args.plan's large items on the stream; their cut tokens remain to be merged. Queries are multiplied with
// `query_factor` before they are rounded. What the launch gets wrong is kept for cudaGetLastError. REQUIRES:
// HasHopperAttention of args.layer.
void AttendOnHopper(const CudaAttentionArgs& args, float query_factor, CudaStream stream);

}  // namespace quire
