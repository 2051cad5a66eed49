#include "kernels/cpu/attention.h"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <numbers>
#include <tuple>
#include <utility>

#include "kernels/check.h"
#include "kernels/cpu/kv_cache.h"

namespace quire {
namespace {

#if defined(__x86_64__)
const AttentionKernels& Avx512Bf16AttentionKernels() {
  static const AttentionKernels kernels = [] {
    AttentionKernels all = kAvx512AttentionKernels;
    all.name = "avx512_bf16";
    all.bfloat16 = kAvx512Bf16KvKernels;
    return all;
  }();
  return kernels;
}
#endif

const KvKernels& KernelsOf(const AttentionKernels& kernels, const KvLayout& layout) {
  QUIRE_CHECK(HasCpuKvKernels(layout.key_dtype, layout.value_dtype));
  if (layout.key_dtype == KvDType::kBF16) return kernels.bfloat16;
  if (layout.key_dtype == KvDType::kInt4) {
    return layout.value_dtype == KvDType::kInt8 ? kernels.int4_int8 : kernels.int4;
  }
  return layout.value_dtype == KvDType::kInt8 ? kernels.int8 : kernels.int8_int4;
}

}  // namespace

std::vector<const AttentionKernels*> AttentionKernelsFor(InstructionSet instruction_set) {
  std::vector<const AttentionKernels*> kernels = {&kPortableAttentionKernels};
#if defined(__x86_64__)
  if (instruction_set >= InstructionSet::kAvx2) kernels.push_back(&kAvx2AttentionKernels);
  if (instruction_set >= InstructionSet::kAvx512Vnni) kernels.push_back(&kAvx512AttentionKernels);
  if (instruction_set >= InstructionSet::kAvx512Bf16) kernels.push_back(&Avx512Bf16AttentionKernels());
#endif
  return kernels;
}

struct PagedAttention::Call {
  Call(const AttentionArgs& arguments, const AttentionKernels& all_kernels)
      : args(arguments),
        cache(static_cast<const CpuKvCache&>(*arguments.kv_cache)),
        layout(cache.layout()),
        kernels(KernelsOf(all_kernels, layout)),
        finish(layout.value_dtype == KvDType::kInt4 ? all_kernels.finish_rotated : all_kernels.finish),
        group(arguments.num_heads / layout.num_kv_heads) {
    QUIRE_CHECK(args.num_heads > 0 && args.num_heads % layout.num_kv_heads == 0);
    QUIRE_CHECK(args.layer >= 0 && args.layer < layout.num_layers);
    QUIRE_CHECK(args.qkv.rows == args.batch.num_tokens() && args.output.rows == args.qkv.rows);
    QUIRE_CHECK(args.qkv.cols >= args.num_heads * layout.head_dim);
    QUIRE_CHECK(args.output.cols == args.num_heads * layout.head_dim);
    QUIRE_CHECK(args.batch.query_start.size() == args.batch.context_lens.size() + 1);
    QUIRE_CHECK(args.batch.block_indptr.size() == args.batch.context_lens.size() + 1);
    QUIRE_CHECK(args.batch.query_start.back() == args.batch.num_tokens());
  }

  AttentionPlan::Shape ShapeFor(int num_workers) const {
    return {layout.num_kv_heads, group, layout.page_size, args.sliding_window, num_workers};
  }

  int query_bytes() const { return 4 * layout.head_dim; }  // Of a prepared one.

  const AttentionArgs& args;
  const CpuKvCache& cache;
  const KvLayout& layout;
  const KvKernels& kernels;
  const decltype(AttentionKernels::finish) finish;
  const int group;  // Query heads of one KV head.
};

void PagedAttention::States::Resize(int64_t num_rows, int head_dim) {
  if (static_cast<int64_t>(rows.size()) >= num_rows && stride == head_dim) return;
  stride = head_dim;
  rows.resize(num_rows);
  weighted.resize(num_rows * head_dim);
  for (int64_t row = 0; row < num_rows; ++row) rows[row].weighted = weighted.data() + row * head_dim;
}

// The kernels take powers of two.
void PagedAttention::PrepareQueries(const Call& call, const AttentionWork& work, Scratch& scratch) const {
  const int head_dim = call.layout.head_dim;
  const float factor = call.args.scale * std::numbers::log2e_v<float>;
  std::byte* prepared = scratch.queries.data();
  for (int i = work.begin_tile; i < work.end_tile; ++i) {
    const AttentionTile& tile = plan_.tiles()[i];
    for (int row = 0; row < plan_.NumRows(tile); ++row, prepared += call.query_bytes()) {
      const float* query = call.args.qkv.Row(plan_.Token(tile, row)) + plan_.Head(work.kv_head, row) * head_dim;
      call.kernels.prepare(query, factor, head_dim, prepared);
    }
  }
}

// The chunk on the pages of the work's first tile, which are those of all its tiles.
KvChunk PagedAttention::LocateChunk(const Call& call, const AttentionWork& work, int chunk) const {
  const KvLayout& layout = call.layout;
  const int sequence = plan_.tiles()[work.begin_tile].sequence;
  const int32_t* pages = call.args.batch.block_indices.data() + call.args.batch.block_indptr[sequence];
  const auto block_at = [&](int position) {
    const int page = pages[position / layout.page_size];
    QUIRE_CHECK(page >= 0 && page < layout.num_pages);
    const int offset = position % layout.page_size;
    return std::pair(call.cache.KeyBlock(call.args.layer, page, work.kv_head, offset),
                     call.cache.ValueBlock(call.args.layer, page, work.kv_head, offset));
  };
  TokenRange visible = {kAttentionChunkTokens, 0};  // To any row.
  for (int i = work.begin_tile; i < work.end_tile; ++i) {
    const AttentionTile& tile = plan_.tiles()[i];
    visible.begin = std::min(visible.begin, plan_.VisibleInChunk(tile.begin_token, chunk).begin);
    visible.end = std::max(visible.end, plan_.VisibleInChunk(tile.end_token - 1, chunk).end);
  }
  KvChunk located;
  located.head_dim = layout.head_dim;
  const int origin = chunk * kAttentionChunkTokens;
  const int begin = visible.begin / kKvBlockTokens;
  const int end = (visible.end + kKvBlockTokens - 1) / kKvBlockTokens;
  for (int block = begin; block < end; ++block) {
    std::tie(located.keys[block], located.values[block]) = block_at(origin + block * kKvBlockTokens);
  }
  // Behind the chunk's keys come its values, and behind these the keys of the work's next chunk. Work of more than one
  // chunk is of one tile.
  const int last_token = plan_.tiles()[work.begin_tile].end_token - 1;
  const int work_end = std::min(work.end_chunk * kAttentionChunkTokens, plan_.Visible(last_token).end);
  for (int i = 0; i < kAttentionBlocksAhead; ++i) {
    located.keys[end + i] = located.values[std::min(begin + i, end - 1)];
    const int next = origin + (end + i) * kKvBlockTokens;
    located.values[end + i] = next < work_end ? block_at(next).first : located.values[end - 1];
  }
  return located;
}

// Fills the states of the rows that see something of the chunk: partial ones of tiles that are cut, or scratch.chunk.
void PagedAttention::AttendChunk(const Call& call, const AttentionWork& work, int chunk, Scratch& scratch) {
  const KvChunk located = LocateChunk(call, work, chunk);
  const std::byte* query = scratch.queries.data();
  AttentionRow rows[kAttentionMaxRows];
  int count = 0;
  for (int i = work.begin_tile; i < work.end_tile; ++i) {
    const AttentionTile& tile = plan_.tiles()[i];
    AttentionState* states =
        tile.first_partial < 0 ? scratch.chunk.rows.data() : &partials_.rows[plan_.Partial(tile, work.kv_head, chunk)];
    for (int row = 0; row < plan_.NumRows(tile); ++row, query += call.query_bytes()) {
      const TokenRange visible = plan_.VisibleInChunk(plan_.Token(tile, row), chunk);
      if (visible.empty()) continue;
      rows[count++] = {query, visible.begin, visible.end, &states[row]};
      if (count < kAttentionMaxRows) continue;
      call.kernels.attend(located, rows, count);
      count = 0;
    }
  }
  if (count > 0) call.kernels.attend(located, rows, count);
}

// Adds the states of one chunk to the total of the chunks before it.
void PagedAttention::Accumulate(const AttentionTile& tile, int head_dim, int chunk, const AttentionState* states,
                                AttentionState* total) const {
  for (int row = 0; row < plan_.NumRows(tile); ++row) {
    const int token = plan_.Token(tile, row);
    if (plan_.VisibleInChunk(token, chunk).empty()) continue;
    if (chunk == plan_.Visible(token).begin / kAttentionChunkTokens) {
      total[row].max_score = states[row].max_score;
      total[row].sum = states[row].sum;
      std::copy_n(states[row].weighted, head_dim, total[row].weighted);
    } else {
      kernels_.merge(states[row], head_dim, &total[row]);
    }
  }
}

void PagedAttention::Finish(const Call& call, const AttentionTile& tile, int kv_head,
                            const AttentionState* total) const {
  const int head_dim = call.layout.head_dim;
  for (int row = 0; row < plan_.NumRows(tile); ++row) {
    float* output = call.args.output.Row(plan_.Token(tile, row)) + plan_.Head(kv_head, row) * head_dim;
    call.finish(total[row], head_dim, output);
  }
}

void PagedAttention::Attend(const Call& call, const AttentionWork& work, Scratch& scratch) {
  PrepareQueries(call, work, scratch);
  const AttentionTile& tile = plan_.tiles()[work.begin_tile];
  const bool cut = tile.first_partial >= 0;
  for (int chunk = work.begin_chunk; chunk < work.end_chunk; ++chunk) {
    AttendChunk(call, work, chunk, scratch);
    if (cut) continue;
    Accumulate(tile, call.layout.head_dim, chunk, scratch.chunk.rows.data(), scratch.total.rows.data());
  }
  if (!cut) Finish(call, tile, work.kv_head, scratch.total.rows.data());
}

void PagedAttention::MergePartials(const Call& call, const AttentionTile& tile, int kv_head, Scratch& scratch) {
  for (int chunk = tile.begin_chunk; chunk < tile.end_chunk; ++chunk) {
    const AttentionState* states = &partials_.rows[plan_.Partial(tile, kv_head, chunk)];
    Accumulate(tile, call.layout.head_dim, chunk, states, scratch.total.rows.data());
  }
  Finish(call, tile, kv_head, scratch.total.rows.data());
}

void PagedAttention::Run(const AttentionArgs& args, WorkerPool& pool) {
  const Call call(args, kernels_);
  plan_.Update(args.batch, call.ShapeFor(pool.size()));
  const int head_dim = call.layout.head_dim;
  partials_.Resize(plan_.num_partials(), head_dim);
  if (scratch_.empty()) scratch_.resize(pool.size());
  QUIRE_CHECK(static_cast<int>(scratch_.size()) == pool.size());
  for (Scratch& scratch : scratch_) {
    scratch.queries.resize(plan_.max_rows() * call.query_bytes());
    scratch.chunk.Resize(plan_.max_rows(), head_dim);
    scratch.total.Resize(plan_.max_rows(), head_dim);
  }

  std::atomic<int> next_work = 0;
  std::atomic<int> next_merge = 0;
  const std::span<const AttentionWork> work = plan_.work();
  const std::span<const int> cut_tiles = plan_.cut_tiles();
  const int num_work = static_cast<int>(work.size());
  const int num_merges = static_cast<int>(cut_tiles.size()) * call.layout.num_kv_heads;
  pool.Run([&](int worker) {
    Scratch& scratch = scratch_[worker];
    for (int i; (i = next_work.fetch_add(1, std::memory_order_relaxed)) < num_work;) Attend(call, work[i], scratch);
    if (num_merges == 0) return;
    pool.Barrier();
    for (int i; (i = next_merge.fetch_add(1, std::memory_order_relaxed)) < num_merges;) {
      const AttentionTile& tile = plan_.tiles()[cut_tiles[i / call.layout.num_kv_heads]];
      MergePartials(call, tile, i % call.layout.num_kv_heads, scratch);
    }
  });
}

}  // namespace quire
