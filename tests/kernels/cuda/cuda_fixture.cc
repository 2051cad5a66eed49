#include "tests/kernels/cuda/cuda_fixture.h"

#include <cuda_runtime.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <new>

#include "kernels/bfloat16.h"
#include "kernels/check.h"
#include "kernels/cuda/attention.h"
#include "kernels/cuda/rope_append.h"

namespace quire {
namespace {

constexpr std::align_val_t kAlignment{256};

float FromFp8(int code) {
  const int exponent = code >> 3 & 15, fraction = code & 7;
  if ((code & 0x7f) == 0x7f) return std::numeric_limits<float>::quiet_NaN();
  const float magnitude = exponent == 0 ? std::ldexp(static_cast<float>(fraction), -9)
                                        : std::ldexp(static_cast<float>(8 + fraction), exponent - 10);
  return code & 0x80 ? -magnitude : magnitude;
}

}  // namespace

PoisonedCudaCache::PoisonedCudaCache(const KvLayout& layout)
    : layout_(layout), memory_(static_cast<std::byte*>(operator new(bytes(), kAlignment))) {
  std::memset(memory_.get(), 0xff, bytes());
}

void PoisonedCudaCache::Free::operator()(std::byte* memory) const { operator delete(memory, kAlignment); }

std::vector<float> StoredHead(const KvLayout& layout, const CudaKvPlane& plane, int64_t slot, int kv_head) {
  const int64_t page = slot / layout.page_size, offset = slot % layout.page_size;
  const int64_t place = (page * layout.num_kv_heads + kv_head) * layout.page_size + offset;
  std::vector<float> head;
  for (int64_t i = place * layout.head_dim; i < (place + 1) * layout.head_dim; ++i) {
    if (plane.dtype == KvDType::kBF16) {
      uint16_t bits;
      std::memcpy(&bits, plane.elements + 2 * i, sizeof(bits));
      head.push_back(FromBFloat16(bits));
    } else if (plane.dtype == KvDType::kInt8) {
      head.push_back(static_cast<float>(static_cast<int8_t>(plane.elements[i])) * plane.scales[place]);
    } else {
      head.push_back(FromFp8(static_cast<int>(plane.elements[i])) * plane.scales[place]);
    }
  }
  return head;
}

void AppendToCuda(Matrix& qkv, const Heads& heads, const PagedBatchView& batch, CudaKvLayer layer) {
  CudaRopeAppendArgs args;
  args.qkv = qkv.data.data();
  args.qkv_stride = qkv.cols;
  args.num_tokens = batch.num_tokens();
  args.num_heads = heads.num_heads();
  args.slot_mapping = batch.slot_mapping.data();
  args.layer = layer;
  RopeAppendOnCuda(args, nullptr);
  QUIRE_CHECK(cudaDeviceSynchronize() == cudaSuccess && cudaGetLastError() == cudaSuccess);
}

Matrix AttendOnCuda(Matrix& queries, const PagedBatchView& batch, CudaKvLayer layer, const CudaAttentionCall& call) {
  const Heads& heads = call.heads;
  CudaAttentionPlan plan;
  plan.Update(batch, {.num_kv_heads = heads.kv_heads,
                      .group = heads.group,
                      .page_size = layer.page_size,
                      .num_pages = layer.num_pages,
                      .sliding_window = call.sliding_window,
                      .max_tile_rows =
                          CudaAttentionTileRows(heads.head_dim, layer.keys.dtype, layer.values.dtype, call.portable),
                      .num_workers = call.num_workers,
                      .share_pages = call.share_pages});
  Matrix output(queries.rows, heads.num_heads() * heads.head_dim);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  output.data.assign(output.data.size(), nan);
  const int64_t num_partials = plan.num_partials() + call.spare_room;
  std::vector<float> partials(CudaAttentionPartialFloats(num_partials, heads.num_heads(), heads.head_dim), nan);

  CudaAttentionArgs args;
  args.queries = queries.data.data();
  args.query_stride = queries.cols;
  args.output = output.data.data();
  args.output_stride = output.cols;
  args.num_heads = heads.num_heads();
  args.scale = call.scale != 0 ? call.scale : 1 / std::sqrt(static_cast<float>(heads.head_dim));
  args.sliding_window = call.sliding_window;
  args.layer = layer;
  args.positions = batch.positions.data();
  args.block_indices = batch.block_indices.data();
  CudaAttentionRoom room = plan.NeededRoom();
  for (int* size : {&room.tokens, &room.small_items, &room.large_items, &room.cut_tokens}) *size += call.spare_room;
  std::vector<int32_t> words(room.num_words());
  plan.Write(room, words);
  args.plan = CudaAttentionPlan::ViewAt(words.data(), room);
  args.partials = partials.data();
  args.portable = call.portable;
  AttentionOnCuda(args, nullptr);
  QUIRE_CHECK(cudaDeviceSynchronize() == cudaSuccess && cudaGetLastError() == cudaSuccess);
  return output;
}

}  // namespace quire
