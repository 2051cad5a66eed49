#include <cuda_bf16.h>
#include <cuda_fp8.h>
#include <cuda_runtime.h>

#include <cmath>

#include "kernels/check.h"
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/rope_append.h"
#include "kernels/cuda/rotation.cuh"

namespace quire {
namespace {

constexpr int kWarps = 4;  // Of a block; each has a head at a time.
constexpr int kPerLane = kMaxCudaHeadDim / kWarpSize;
constexpr int kRotationThreads = 128;

__global__ void RotationsKernel(const int32_t* positions, const float* inverse_frequencies, int num_frequencies,
                                float* rotations) {
  const int64_t token = blockIdx.x;
  for (int i = threadIdx.x; i < num_frequencies; i += kRotationThreads) {
    const double angle = static_cast<double>(inverse_frequencies[i]) * positions[token];
    float* rotation = rotations + token * 2 * num_frequencies + i;
    rotation[0] = static_cast<float>(cos(angle));
    rotation[num_frequencies] = static_cast<float>(sin(angle));
  }
}

// Multiplies the head, of which a lane has the dimensions lane, lane + 32, ..., so that its mean square is 1, and then
// by the weights. Warp collective.
__device__ void NormalizeHead(float (&head)[kPerLane], const float* weight, float epsilon, int head_dim) {
  float squares = 0;
#pragma unroll
  for (int i = 0; i < kPerLane; ++i) squares = fmaf(head[i], head[i], squares);
  const float scale = 1 / sqrtf(WarpSum(squares) / static_cast<float>(head_dim) + epsilon);
  const int lane = threadIdx.x % kWarpSize;
#pragma unroll
  for (int i = 0; i < kPerLane; ++i) {
    const int dim = lane + i * kWarpSize;
    if (dim < head_dim) head[i] = head[i] * scale * weight[dim];
  }
}

// Rotates pairs of dimensions in shared memory. Warp collective.
__device__ void RotatePairs(const CudaRopeAppendArgs& args, int64_t token, float* head) {
  const int n = args.num_frequencies;
  const float* cosines = args.rotations + token * 2 * n;
  const float* sines = cosines + n;
  const bool halves = args.rotates_halves;
  for (int i = threadIdx.x % kWarpSize; i < n; i += kWarpSize) {
    float& x = head[halves ? i : 2 * i];
    float& y = head[halves ? i + n : 2 * i + 1];
    const float rotated_x = fmaf(x, cosines[i], -(y * sines[i]));
    y = fmaf(x, sines[i], y * cosines[i]);
    x = rotated_x;
  }
}

// Code of x where `inverse` codes make 1. Halves are rounded up in int8, as the CPU rounds them.
__device__ uint8_t CodeOf(float x, float inverse, KvDType dtype) {
  if (dtype == KvDType::kFp8) return __nv_cvt_float_to_fp8(x * inverse, __NV_SATFINITE, __NV_E4M3);
  const int code = static_cast<int>(floorf(__fadd_rn(__fmul_rn(x, inverse), 128.5f))) - 128;
  return static_cast<uint8_t>(static_cast<int8_t>(code));
}

// Rounds a head to the plane's dtype and writes it to the place'th head of the plane. Warp collective.
__device__ void StoreHead(const CudaKvPlane& plane, int64_t place, int head_dim, const float (&head)[kPerLane]) {
  float peak = 0;
  bool is_finite = true;
#pragma unroll
  for (int i = 0; i < kPerLane; ++i) {
    is_finite &= fabsf(head[i]) <= 3.402823466e38f;
    peak = fmaxf(peak, fabsf(head[i]));
  }
  is_finite = !Any(!is_finite);
  peak = WarpMax(peak);
  const float limit = plane.dtype == KvDType::kFp8 ? 448.0f : 127.0f;
  // The reciprocal of what is smaller would overflow; such a head counts as zeros.
  const float inverse = is_finite && peak > 1e-33f ? limit / peak : 0;
  const float nan = __uint_as_float(0x7fffffffu);
  const int lane = threadIdx.x % kWarpSize;
#pragma unroll
  for (int i = 0; i < kPerLane; ++i) {
    const int dim = lane + i * kWarpSize;
    if (dim >= head_dim) continue;
    const int64_t element = place * head_dim + dim;
    if (plane.dtype == KvDType::kBF16) {
      reinterpret_cast<__nv_bfloat16*>(plane.elements)[element] = __float2bfloat16_rn(is_finite ? head[i] : nan);
    } else {
      const uint8_t code = is_finite ? CodeOf(head[i], inverse, plane.dtype) : uint8_t{0};
      reinterpret_cast<uint8_t*>(plane.elements)[element] = code;
    }
  }
  if (plane.scales != nullptr && lane == 0) plane.scales[place] = is_finite ? peak / limit : nan;
}

// A warp takes Q, K and V heads of token blockIdx.x in turn.
__global__ void __launch_bounds__(kWarps* kWarpSize) RopeAppendKernel(CudaRopeAppendArgs args) {
  const int64_t token = blockIdx.x;
  const int warp = threadIdx.x / kWarpSize, lane = threadIdx.x % kWarpSize;
  const int head_dim = args.layer.head_dim, kv_heads = args.layer.num_kv_heads;
  float* shared = reinterpret_cast<float*>(SharedMemory()) + warp * kMaxCudaHeadDim;
  const int slot = args.slot_mapping[token];
  if (slot < 0) return;
  const int64_t page = slot / args.layer.page_size, offset = slot % args.layer.page_size;
  for (int h = warp; h < args.num_heads + 2 * kv_heads; h += kWarps) {
    const bool is_query = h < args.num_heads, is_value = h >= args.num_heads + kv_heads;
    float* data = args.qkv + token * args.qkv_stride + static_cast<int64_t>(h) * head_dim;
    float head[kPerLane];
#pragma unroll
    for (int i = 0; i < kPerLane; ++i) {
      const int dim = lane + i * kWarpSize;
      head[i] = dim < head_dim ? data[dim] : 0;
    }
    if (!is_value) {
      const float* norm = is_query ? args.query_norm : args.key_norm;
      if (norm != nullptr) NormalizeHead(head, norm, is_query ? args.query_epsilon : args.key_epsilon, head_dim);
#pragma unroll
      for (int i = 0; i < kPerLane; ++i) shared[lane + i * kWarpSize] = head[i];
      SyncWarp();
      RotatePairs(args, token, shared);
      SyncWarp();
#pragma unroll
      for (int i = 0; i < kPerLane; ++i) {
        const int dim = lane + i * kWarpSize;
        head[i] = shared[dim];
        if (dim < head_dim) data[dim] = head[i];
      }
    }
    if (is_query) continue;
    const CudaKvPlane& plane = is_value ? args.layer.values : args.layer.keys;
    if (!is_value && plane.dtype == KvDType::kInt8) RotateHead(head, CudaRotatedPart(head_dim));
    const int64_t kv_head = h - args.num_heads - (is_value ? kv_heads : 0);
    StoreHead(plane, (page * kv_heads + kv_head) * args.layer.page_size + offset, head_dim, head);
  }
}

}  // namespace

void ComputeCudaRotations(const int32_t* positions, int num_tokens, const float* inverse_frequencies,
                          int num_frequencies, float* rotations, CudaStream stream) {
  if (num_tokens == 0 || num_frequencies == 0) return;
  const LaunchShape shape{.grid = static_cast<unsigned>(num_tokens), .block = kRotationThreads, .stream = stream};
  Launch(RotationsKernel, shape, positions, inverse_frequencies, num_frequencies, rotations);
}

void RopeAppendOnCuda(const CudaRopeAppendArgs& args, CudaStream stream) {
  QUIRE_CHECK(args.layer.head_dim % 16 == 0 && args.layer.head_dim <= kMaxCudaHeadDim);
  QUIRE_CHECK(2 * args.num_frequencies <= args.layer.head_dim);
  if (args.num_tokens == 0) return;
  const LaunchShape shape{.grid = static_cast<unsigned>(args.num_tokens),
                          .block = kWarps * kWarpSize,
                          .shared_bytes = sizeof(float) * kMaxCudaHeadDim * kWarps,
                          .stream = stream};
  Launch(RopeAppendKernel, shape, args);
}

}  // namespace quire
