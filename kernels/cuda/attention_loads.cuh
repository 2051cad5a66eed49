// How a block brings K and V of a chunk into shared memory, as bfloat16.
#pragma once

#include <cstdint>

#include "kernels/cuda/attention_codes.cuh"
#include "kernels/cuda/attention_plan.h"
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/kv_layout.h"

namespace quire {

// Tokens that are sure to lie side by side on one page.
constexpr int kCudaRunTokens = 16;

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
    if (plane.dtype == KvDType::kInt8) DecodeKeys<KvDType::kInt8>(panel);
    if (plane.dtype == KvDType::kFp8) DecodeKeys<KvDType::kFp8>(panel);
  }

  // The same for values. Those kept as NaN are replaced by zeros, and their scales by NaN: a product with 0, the weight
  // of a token that a row does not see, is then 0.
  __device__ __forceinline__ void FinishValues(const CudaKvPlane& plane, int first_dim, KvPanel<kPanelDims>& panel,
                                               float* scales) const {
    WaitCopies<0>();
    if (plane.dtype == KvDType::kInt8) return DecodeValues<KvDType::kInt8>(panel);
    if (plane.dtype == KvDType::kFp8) return DecodeValues<KvDType::kFp8>(panel);
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

  // Decode the pieces that this thread copied; keys into the order that PlaceOfCode tells.
  template <KvDType kDType>
  __device__ __forceinline__ void DecodeKeys(KvPanel<kPanelDims>& panel) const {
    ForCodes(panel, [](const uint4& codes, uint4* decoded) {
      decoded[0] = make_uint4(DecodeTwo<kDType, 0, 1>(codes.x), DecodeTwo<kDType, 0, 1>(codes.y),
                              DecodeTwo<kDType, 0, 1>(codes.z), DecodeTwo<kDType, 0, 1>(codes.w));
      decoded[1] = make_uint4(DecodeTwo<kDType, 2, 3>(codes.x), DecodeTwo<kDType, 2, 3>(codes.y),
                              DecodeTwo<kDType, 2, 3>(codes.z), DecodeTwo<kDType, 2, 3>(codes.w));
    });
  }

  template <KvDType kDType>
  __device__ __forceinline__ void DecodeValues(KvPanel<kPanelDims>& panel) const {
    ForCodes(panel, [](const uint4& codes, uint4* decoded) {
      decoded[0] = make_uint4(DecodeTwo<kDType, 0, 1>(codes.x), DecodeTwo<kDType, 2, 3>(codes.x),
                              DecodeTwo<kDType, 0, 1>(codes.y), DecodeTwo<kDType, 2, 3>(codes.y));
      decoded[1] = make_uint4(DecodeTwo<kDType, 0, 1>(codes.z), DecodeTwo<kDType, 2, 3>(codes.z),
                              DecodeTwo<kDType, 0, 1>(codes.w), DecodeTwo<kDType, 2, 3>(codes.w));
    });
  }

  // Calls fn(codes, their place in the panel) for this thread's pieces.
  template <typename Function>
  __device__ __forceinline__ void ForCodes(KvPanel<kPanelDims>& panel, Function fn) const {
    for (int run = 0; run < kCudaChunkTokens; run += kCudaRunTokens) {
      ForPieces<1>([&](int row, int offset) {
        fn(*reinterpret_cast<const uint4*>(codes_[run + row] + offset),
           reinterpret_cast<uint4*>(panel.rows[run + row] + 2 * offset));
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
