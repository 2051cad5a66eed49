// The paged KV cache as kernels see it: one pool of fixed-size pages; a page holds `page_size` consecutive tokens of
// one sequence, for every layer and KV head. Which page belongs to whom is the block manager's business.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace quire {

// What K or V is kept in; K and V need not be the same.
//   kInt8  for each token and head, codes of 8 bits and one float, max |x| / 127, that they are multiples of
//   kFp8   for each token and head, codes in float8 (e4m3) and one float, max |x| / 448, that they are multiples of
//   kInt4  for each token and head, codes of 4 bits and two numbers in bfloat16, a scale and a middle:
//          x = level of the code * scale + middle; of V itself, of K's difference from what the tokens before it let
//          expect
enum class KvDType : uint8_t { kF32, kBF16, kInt8, kInt4, kFp8 };

struct KvLayout {
  int num_layers = 0;
  int num_heads = 0;  // Query heads that read it, where known.
  int num_kv_heads = 0;
  int head_dim = 0;
  int page_size = 0;  // Tokens a page: a multiple of 16.
  int num_pages = 0;
  KvDType key_dtype = KvDType::kBF16;
  KvDType value_dtype = KvDType::kBF16;

  // Of K, or of V, of one token and head.
  int64_t BytesPerHead(KvDType dtype) const {
    switch (dtype) {
      case KvDType::kF32:
        return int64_t{4} * head_dim;
      case KvDType::kBF16:
        return int64_t{2} * head_dim;
      case KvDType::kInt8:
      case KvDType::kFp8:
        return head_dim + int64_t{4};
      case KvDType::kInt4:
        return head_dim / 2 + int64_t{4};
    }
    return 0;
  }
  int64_t BytesPerToken() const {
    return int64_t{num_layers} * num_kv_heads * (BytesPerHead(key_dtype) + BytesPerHead(value_dtype));
  }
  int64_t BytesPerPage() const { return BytesPerToken() * page_size; }
};

// The pool's memory. How a page is laid out inside is the backend's own.
class KvCache {
 public:
  virtual ~KvCache() = default;
  virtual const KvLayout& layout() const = 0;
};

// Copies the first `num_tokens` tokens of page `source`, all layers and heads, to page `destination`.
struct PageCopy {
  int32_t source = 0;
  int32_t destination = 0;
  int32_t num_tokens = 0;
};

// Pages in memory of the host, each whole and in a form of the backend's own, at the same bytes for the same layout. On
// a device's backend the memory is pinned, so that copies run beside kernels.
class HostPages {
 public:
  virtual ~HostPages() = default;
  virtual int num_pages() const = 0;
  // KvLayout::BytesPerPage of them. Not to be touched while a transfer has to do with the page.
  virtual std::span<std::byte> page(int index) const = 0;
};

// Page `page` of a cache and page `host_page` of HostPages, one to be copied to the other.
struct PageTransfer {
  int32_t page = 0;
  int32_t host_page = 0;
};

// Where each token of a ragged step lies. T tokens in S sequences; sequence s owns tokens
// [query_start[s], query_start[s+1]), which are the last ones of its context.
struct PagedBatchView {
  std::span<const int32_t> positions;      // [T] position in its sequence
  std::span<const int32_t> slot_mapping;   // [T] page * page_size + offset that the token's K and V are written to
  std::span<const int32_t> query_start;    // [S+1]
  std::span<const int32_t> context_lens;   // [S] tokens in the cache once this step's are appended
  std::span<const int32_t> block_indptr;   // [S+1] into block_indices
  std::span<const int32_t> block_indices;  // pages of sequence s, in order, ceil(context_lens[s] / page_size) of them
  // [T] positions that Q and K are rotated for, or empty: they are `positions`. They differ where a context has gaps.
  std::span<const int32_t> rotary_positions = {};

  std::span<const int32_t> RotaryPositions() const { return rotary_positions.empty() ? positions : rotary_positions; }
  int num_tokens() const { return static_cast<int>(positions.size()); }
  int num_sequences() const { return static_cast<int>(context_lens.size()); }
};

}  // namespace quire
