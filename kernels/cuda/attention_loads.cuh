// How a block brings K and V of a chunk into shared memory, as bfloat16.
#pragma once

#include <cstdint>

#include "kernels/cuda/attention_plan.h"
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/kv_layout.h"

namespace quire {

// Tokens that are sure to lie side by side on one page.
constexpr int kCudaRunTokens = 16;

// The two floats' upper halves, which are bfloat16 numbers if the floats are exact in it; low first.
__device__ __forceinline__ uint32_t UpperHalves(float low, float high) {
  return __byte_perm(__float_as_uint(low), __float_as_uint(high), 0x7632);
}

// Code `index` of four as a float, exactly.
__device__ __forceinline__ float DecodeInt8(uint32_t codes, int index) {
  return static_cast<float>(static_cast<int8_t>(codes >> 8 * index & 0xff));
}

// e4m3 has the fields of a float in the same order, and an exponent that is off by 120. The code for NaN, which nobody
// writes, becomes 480.
__device__ __forceinline__ float DecodeFp8(uint32_t codes, int index) {
  const uint32_t code = codes >> 8 * index & 0xff;
  return __uint_as_float((code & 0x80) << 24 | (code & 0x7f) << 20) * 0x1p120f;
}

__device__ __forceinline__ uint2 DecodeFour(uint32_t codes, KvDType dtype) {
  if (dtype == KvDType::kFp8) {
    return make_uint2(UpperHalves(DecodeFp8(codes, 0), DecodeFp8(codes, 1)),
                      UpperHalves(DecodeFp8(codes, 2), DecodeFp8(codes, 3)));
  }
  return make_uint2(UpperHalves(DecodeInt8(codes, 0), DecodeInt8(codes, 1)),
                    UpperHalves(DecodeInt8(codes, 2), DecodeInt8(codes, 3)));
}

// A panel: up to kPanelDims dimensions of a chunk's tokens. Its rows are 16 bytes longer than their elements, an odd
// number of 16 bytes in all, so that 8 rows' 16 bytes at one place lie in different banks of shared memory.
template <int kPanelDims>
struct alignas(16) KvPanel {
  static constexpr int kRowBytes = 2 * kPanelDims + 16;
  static_assert(kRowBytes / 16 % 2 == 1);
  std::byte rows[kCudaChunkTokens][kRowBytes];
};

// Loads panels for all threads of a block, each of which copies pieces of 16 bytes and decodes what it copied itself.
template <int kPanelDims, int kThreads>
class PanelLoader {
 public:
  using Codes = std::byte[kCudaChunkTokens][kPanelDims];

  __device__ PanelLoader(const CudaKvLayer& layer, const CudaAttentionItem& item, const int32_t* block_indices,
                         int kv_head, Codes& codes)
      : layer_(layer), item_(item), pages_(block_indices + item.first_page), kv_head_(kv_head), codes_(codes) {}

  // Begins to copy dimensions from first_dim on of the chunk's tokens in the item's range, and, with the first
  // dimensions, the tokens' scales; everything else becomes 0.
  __device__ __forceinline__ void Begin(const CudaKvPlane& plane, int chunk, int first_dim, KvPanel<kPanelDims>& panel,
                                        float* scales) const {
    for (int run = 0; run < kCudaChunkTokens; run += kCudaRunTokens) {
      const int position = chunk * kCudaChunkTokens + run;
      const bool is_inside = position < item_.end && position + kCudaRunTokens > item_.begin;
      const int64_t page = is_inside ? pages_[position / layer_.page_size] : 0;
      const int64_t head = (page * layer_.num_kv_heads + kv_head_) * layer_.page_size + position % layer_.page_size;
      if (plane.dtype == KvDType::kBF16) {
        CopyRun<2>(plane, head, position, first_dim, panel.rows + run);
      } else {
        CopyRun<1>(plane, head, position, first_dim, codes_ + run);
        const int piece = 4 * threadIdx.x;
        if (first_dim == 0 && piece < kCudaRunTokens) {
          CopyAsync16(scales + run + piece, plane.scales + head + piece, is_inside);
        }
      }
    }
    CommitCopies();
  }

  // Waits for the copies that Begin began. After the next SyncBlock all threads may read the panel and the scales.
  __device__ __forceinline__ void FinishKeys(const CudaKvPlane& plane, KvPanel<kPanelDims>& panel) const {
    WaitCopies<0>();
    if (plane.dtype != KvDType::kBF16) Decode(plane.dtype, panel);
  }

  // The same for values. Those kept as NaN are replaced by zeros, and their scales by NaN: a product with 0, the weight
  // of a token that a row does not see, is then 0.
  __device__ __forceinline__ void FinishValues(const CudaKvPlane& plane, int first_dim, KvPanel<kPanelDims>& panel,
                                               float* scales) const {
    WaitCopies<0>();
    if (plane.dtype != KvDType::kBF16) return Decode(plane.dtype, panel);
    for (int run = 0; run < kCudaChunkTokens; run += kCudaRunTokens) {
      ForPieces<2>([&](int row, int offset) {
        auto* piece = reinterpret_cast<uint4*>(panel.rows[run + row] + offset);
        const bool is_nan = (piece->x & 0x7fff) > 0x7f80;
        if (is_nan) *piece = make_uint4(0, 0, 0, 0);
        if (first_dim == 0 && offset == 0) scales[run + row] = is_nan ? __uint_as_float(0x7fffffffu) : 1.0f;
      });
    }
  }

 private:
  // Calls fn(row, offset in the row's bytes) for this thread's pieces of a run.
  template <int kElementBytes, typename Function>
  __device__ __forceinline__ static void ForPieces(Function fn) {
    constexpr int kRowPieces = kPanelDims * kElementBytes / 16;
    constexpr int kPieces = kCudaRunTokens * kRowPieces;
#pragma unroll 4
    for (int first = 0; first < kPieces; first += kThreads) {
      const int piece = first + static_cast<int>(threadIdx.x);
      if (piece < kPieces) fn(piece / kRowPieces, piece % kRowPieces * 16);
    }
  }

  // The run begins at `position` and is the plane's heads from `head` on.
  template <int kElementBytes, int kRowBytes>
  __device__ __forceinline__ void CopyRun(const CudaKvPlane& plane, int64_t head, int position, int first_dim,
                                          std::byte (*rows)[kRowBytes]) const {
    const int head_bytes = layer_.head_dim * kElementBytes;
    const std::byte* from = plane.elements + head * head_bytes + first_dim * kElementBytes;
    ForPieces<kElementBytes>([&](int row, int offset) {
      const bool is_valid = position + row >= item_.begin && position + row < item_.end &&
                            first_dim * kElementBytes + offset < head_bytes;
      CopyAsync16(rows[row] + offset, from + row * head_bytes + offset, is_valid);
    });
  }

  // Decodes the pieces that this thread copied.
  __device__ __forceinline__ void Decode(KvDType dtype, KvPanel<kPanelDims>& panel) const {
    for (int run = 0; run < kCudaChunkTokens; run += kCudaRunTokens) {
      ForPieces<1>([&](int row, int offset) {
        const uint4 codes = *reinterpret_cast<const uint4*>(codes_[run + row] + offset);
        auto* decoded = reinterpret_cast<uint4*>(panel.rows[run + row] + 2 * offset);
        const uint2 x = DecodeFour(codes.x, dtype), y = DecodeFour(codes.y, dtype);
        decoded[0] = make_uint4(x.x, x.y, y.x, y.y);
        const uint2 z = DecodeFour(codes.z, dtype), w = DecodeFour(codes.w, dtype);
        decoded[1] = make_uint4(z.x, z.y, w.x, w.y);
      });
    }
  }

  const CudaKvLayer& layer_;
  const CudaAttentionItem& item_;
  const int32_t* const pages_;
  const int kv_head_;
  Codes& codes_;
};

}  // namespace quire
