// The Hadamard rotation of keys in int8, and of the queries that meet them: a few large dimensions of a key would
// otherwise set the step of its codes for all of them. By parts as long as a power of two may be; the result is
// sqrt(part) times as long, so that a product of two rotated heads is `part` times that of the heads.
#pragma once

#include "kernels/cuda/device.cuh"

namespace quire {

// REQUIRES: head_dim a multiple of 16.
__host__ __device__ inline int CudaRotatedPart(int head_dim) { return head_dim & -head_dim; }

// Rotates a head of which lane l has the dimensions l, l + 32, l + 64, ... in `head`, 0 in those beyond the last.
// Warp collective.
template <int kPerLane>
__device__ __forceinline__ void RotateHead(float (&head)[kPerLane], int part) {
  const int lane = threadIdx.x % kWarpSize;
  for (int stride = 1; stride < kWarpSize && stride < part; stride *= 2) {
#pragma unroll
    for (int i = 0; i < kPerLane; ++i) {
      const float other = ShuffleXor(head[i], stride);
      head[i] = (lane & stride) != 0 ? other - head[i] : head[i] + other;
    }
  }
#pragma unroll
  for (int distance = 1; distance < kPerLane; distance *= 2) {
    if (distance * kWarpSize >= part) continue;
#pragma unroll
    for (int i = 0; i < kPerLane; ++i) {
      if ((i & distance) != 0 || i + distance >= kPerLane) continue;
      const float x = head[i], y = head[i + distance];
      head[i] = x + y;
      head[i + distance] = x - y;
    }
  }
}

}  // namespace quire
