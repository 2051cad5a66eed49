#include "kernels/cpu/attention.h"

#include <algorithm>
#include <atomic>
#include <numbers>
#include <tuple>
#include <utility>

#include "kernels/check.h"
#include "kernels/cpu/kv_cache.h"

namespace quire {
namespace {

// Rows of a tile: enough that a chunk's K and V, which outgrow the first cache level, are used many times once loaded.
constexpr int kTileRows = 64;
// A tile that is more than one part in this many of a worker's fair share is cut.
constexpr int kPartsPerWorker = 8;

int DivideUp(int a, int b) { return (a + b - 1) / b; }

struct TokenRange {
  int begin;
  int end;
  bool empty() const { return begin >= end; }
};

}  // namespace

std::vector<const AttentionKernels*> AttentionKernelsFor(InstructionSet instruction_set) {
  std::vector<const AttentionKernels*> kernels = {&kPortableAttentionKernels};
#if defined(__x86_64__)
  if (instruction_set >= InstructionSet::kAvx2) kernels.push_back(&kAvx2AttentionKernels);
  if (instruction_set >= InstructionSet::kAvx512Vnni) kernels.push_back(&kAvx512AttentionKernels);
#endif
  return kernels;
}

struct PagedAttention::Call {
  explicit Call(const AttentionArgs& arguments)
      : args(arguments),
        cache(static_cast<const CpuKvCache&>(*arguments.kv_cache)),
        layout(cache.layout()),
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

  // The positions that a query token sees.
  TokenRange Visible(int token) const {
    const int end = args.batch.positions[token] + 1;
    return {args.sliding_window > 0 ? std::max(0, end - args.sliding_window) : 0, end};
  }
  // The same within one chunk, from its first token.
  TokenRange VisibleInChunk(int token, int chunk) const {
    const TokenRange visible = Visible(token);
    const int origin = chunk * kAttentionChunkTokens;
    return {std::max(visible.begin - origin, 0), std::min(visible.end - origin, kAttentionChunkTokens)};
  }
  // Rows go by token, then by head in the group.
  int NumRows(const Tile& tile) const { return (tile.end_token - tile.begin_token) * group; }
  int Token(const Tile& tile, int row) const { return tile.begin_token + row / group; }
  int64_t Column(int kv_head, int row) const { return int64_t{kv_head * group + row % group} * layout.head_dim; }

  const AttentionArgs& args;
  const CpuKvCache& cache;
  const KvLayout& layout;
  const int group;  // Query heads of one KV head.
};

void PagedAttention::States::Resize(int64_t num_rows, int head_dim) {
  if (static_cast<int64_t>(rows.size()) < num_rows) rows.resize(num_rows);
  if (static_cast<int64_t>(weighted.size()) < num_rows * head_dim) weighted.resize(num_rows * head_dim);
  for (int64_t row = 0; row < num_rows; ++row) rows[row].weighted = weighted.data() + row * head_dim;
}

void PagedAttention::PlanTiles(const Call& call) {
  const PagedBatchView& batch = call.args.batch;
  const int tile_tokens = std::max(1, kTileRows / call.group);
  tiles_.clear();
  for (int s = 0; s < batch.num_sequences(); ++s) {
    const int begin = batch.query_start[s];
    const int end = batch.query_start[s + 1];
    if (begin == end) continue;
    QUIRE_CHECK(begin < end && batch.positions[end - 1] == batch.context_lens[s] - 1);
    QUIRE_CHECK(batch.positions[begin] >= 0 && batch.positions[begin] == batch.context_lens[s] - (end - begin));
    QUIRE_CHECK(batch.block_indptr[s + 1] - batch.block_indptr[s] >=
                DivideUp(batch.context_lens[s], call.layout.page_size));
    for (int t = begin; t < end; t += tile_tokens) {
      const int tile_end = std::min(end, t + tile_tokens);
      const int begin_chunk = call.Visible(t).begin / kAttentionChunkTokens;
      const int end_chunk = DivideUp(call.Visible(tile_end - 1).end, kAttentionChunkTokens);
      tiles_.push_back({s, t, tile_end, begin_chunk, end_chunk, -1});
    }
  }
}

void PagedAttention::PlanWork(const Call& call, int num_workers) {
  const auto cost = [&](const Tile& tile) {
    return int64_t{DivideUp(call.NumRows(tile), kAttentionMaxRows)} *
           (call.Visible(tile.end_token - 1).end - call.Visible(tile.begin_token).begin);
  };
  const int kv_heads = call.layout.num_kv_heads;
  int64_t total = 0;
  for (const Tile& tile : tiles_) total += cost(tile) * kv_heads;

  int64_t num_partials = 0;
  cut_tiles_.clear();
  for (size_t i = 0; i < tiles_.size(); ++i) {
    Tile& tile = tiles_[i];
    const int num_chunks = tile.end_chunk - tile.begin_chunk;
    if (num_workers == 1 || num_chunks == 1 || cost(tile) * num_workers * kPartsPerWorker <= total) continue;
    tile.first_partial = num_partials;
    num_partials += int64_t{kv_heads} * num_chunks * call.NumRows(tile);
    cut_tiles_.push_back(static_cast<int>(i));
  }
  partials_.Resize(num_partials, call.layout.head_dim);

  work_.clear();
  // Heads outermost: tiles of a long prompt then find their head's K and V in the worker's cache.
  for (int head = 0; head < kv_heads; ++head) {
    for (size_t i = 0; i < tiles_.size(); ++i) {
      const Tile& tile = tiles_[i];
      const int chunks_apiece = tile.first_partial < 0 ? tile.end_chunk - tile.begin_chunk : 1;
      for (int chunk = tile.begin_chunk; chunk < tile.end_chunk; chunk += chunks_apiece) {
        work_.push_back({static_cast<int>(i), head, chunk, chunk + chunks_apiece});
      }
    }
  }
}

AttentionState* PagedAttention::Partials(const Call& call, const Tile& tile, int kv_head, int chunk) {
  const int64_t num_chunks = tile.end_chunk - tile.begin_chunk;
  return &partials_.rows[tile.first_partial + (kv_head * num_chunks + chunk - tile.begin_chunk) * call.NumRows(tile)];
}

KvChunk PagedAttention::LocateChunk(const Call& call, const Work& work, int chunk) const {
  const KvLayout& layout = call.layout;
  const Tile& tile = tiles_[work.tile];
  const int32_t* pages = call.args.batch.block_indices.data() + call.args.batch.block_indptr[tile.sequence];
  const auto block_at = [&](int position) {
    const int page = pages[position / layout.page_size];
    QUIRE_CHECK(page >= 0 && page < layout.num_pages);
    const int64_t offset = int64_t{position % layout.page_size} * layout.head_dim;
    return std::pair(call.cache.Keys(call.args.layer, page, work.kv_head) + offset,
                     call.cache.Values(call.args.layer, page, work.kv_head) + offset);
  };
  KvChunk located;
  located.head_dim = layout.head_dim;
  const int origin = chunk * kAttentionChunkTokens;
  const int begin = call.VisibleInChunk(tile.begin_token, chunk).begin / kKvBlockTokens;
  const int end = DivideUp(call.VisibleInChunk(tile.end_token - 1, chunk).end, kKvBlockTokens);
  for (int block = begin; block < end; ++block) {
    std::tie(located.keys[block], located.values[block]) = block_at(origin + block * kKvBlockTokens);
  }
  // Behind the chunk's keys come its values, and behind these the keys of the work's next chunk.
  const int work_end = std::min(work.end_chunk * kAttentionChunkTokens, call.Visible(tile.end_token - 1).end);
  for (int i = 0; i < kAttentionBlocksAhead; ++i) {
    located.keys[end + i] = located.values[std::min(begin + i, end - 1)];
    const int next = origin + (end + i) * kKvBlockTokens;
    located.values[end + i] = next < work_end ? block_at(next).first : located.values[end - 1];
  }
  return located;
}

// Fills the states of the rows that see something of the chunk.
void PagedAttention::AttendChunk(const Call& call, const Work& work, int chunk, Scratch& scratch,
                                 AttentionState* states) const {
  const int head_dim = call.layout.head_dim;
  const Tile& tile = tiles_[work.tile];
  const KvChunk located = LocateChunk(call, work, chunk);
  AttentionRow rows[kAttentionMaxRows];
  int count = 0;
  const int num_rows = call.NumRows(tile);
  for (int row = 0; row < num_rows; ++row) {
    const TokenRange visible = call.VisibleInChunk(call.Token(tile, row), chunk);
    if (!visible.empty()) {
      const float* query = &scratch.queries[int64_t{row} * head_dim];
      rows[count++] = {query, visible.begin, visible.end, &states[row]};
    }
    if (count == kAttentionMaxRows || (count > 0 && row == num_rows - 1)) {
      kernels_.attend(located, rows, count);
      count = 0;
    }
  }
}

// Adds the states of one chunk to the total of the chunks before it.
void PagedAttention::Accumulate(const Call& call, const Tile& tile, int chunk, const AttentionState* states,
                                AttentionState* total) const {
  const int head_dim = call.layout.head_dim;
  for (int row = 0; row < call.NumRows(tile); ++row) {
    const int token = call.Token(tile, row);
    if (call.VisibleInChunk(token, chunk).empty()) continue;
    if (chunk == call.Visible(token).begin / kAttentionChunkTokens) {
      total[row].max_score = states[row].max_score;
      total[row].sum = states[row].sum;
      std::copy_n(states[row].weighted, head_dim, total[row].weighted);
    } else {
      kernels_.merge(states[row], head_dim, &total[row]);
    }
  }
}

void PagedAttention::Finish(const Call& call, const Tile& tile, int kv_head, const AttentionState* total) const {
  for (int row = 0; row < call.NumRows(tile); ++row) {
    float* output = call.args.output.Row(call.Token(tile, row)) + call.Column(kv_head, row);
    kernels_.finish(total[row], call.layout.head_dim, output);
  }
}

void PagedAttention::Attend(const Call& call, const Work& work, Scratch& scratch) {
  const Tile& tile = tiles_[work.tile];
  const int head_dim = call.layout.head_dim;
  // The kernels take powers of two.
  const float scale = call.args.scale * std::numbers::log2e_v<float>;
  for (int row = 0; row < call.NumRows(tile); ++row) {
    const float* query = call.args.qkv.Row(call.Token(tile, row)) + call.Column(work.kv_head, row);
    std::transform(query, query + head_dim, &scratch.queries[int64_t{row} * head_dim],
                   [scale](float x) { return x * scale; });
  }
  if (tile.first_partial >= 0) {
    AttendChunk(call, work, work.begin_chunk, scratch, Partials(call, tile, work.kv_head, work.begin_chunk));
    return;
  }
  for (int chunk = work.begin_chunk; chunk < work.end_chunk; ++chunk) {
    AttendChunk(call, work, chunk, scratch, scratch.chunk.rows.data());
    Accumulate(call, tile, chunk, scratch.chunk.rows.data(), scratch.total.rows.data());
  }
  Finish(call, tile, work.kv_head, scratch.total.rows.data());
}

void PagedAttention::MergePartials(const Call& call, const Tile& tile, int kv_head, Scratch& scratch) {
  for (int chunk = tile.begin_chunk; chunk < tile.end_chunk; ++chunk) {
    Accumulate(call, tile, chunk, Partials(call, tile, kv_head, chunk), scratch.total.rows.data());
  }
  Finish(call, tile, kv_head, scratch.total.rows.data());
}

void PagedAttention::Run(const AttentionArgs& args, WorkerPool& pool) {
  const Call call(args);
  PlanTiles(call);
  PlanWork(call, pool.size());
  const int head_dim = call.layout.head_dim;
  const int max_rows = std::max(kTileRows, call.group);
  if (scratch_.empty()) scratch_.resize(pool.size());
  QUIRE_CHECK(static_cast<int>(scratch_.size()) == pool.size());
  for (Scratch& scratch : scratch_) {
    scratch.queries.resize(max_rows * head_dim);
    scratch.chunk.Resize(max_rows, head_dim);
    scratch.total.Resize(max_rows, head_dim);
  }

  std::atomic<int> next_work = 0;
  std::atomic<int> next_merge = 0;
  const int num_work = static_cast<int>(work_.size());
  const int num_merges = static_cast<int>(cut_tiles_.size()) * call.layout.num_kv_heads;
  pool.Run([&](int worker) {
    Scratch& scratch = scratch_[worker];
    for (int i; (i = next_work.fetch_add(1, std::memory_order_relaxed)) < num_work;) Attend(call, work_[i], scratch);
    if (num_merges == 0) return;
    pool.Barrier();
    for (int i; (i = next_merge.fetch_add(1, std::memory_order_relaxed)) < num_merges;) {
      const Tile& tile = tiles_[cut_tiles_[i / call.layout.num_kv_heads]];
      MergePartials(call, tile, i % call.layout.num_kv_heads, scratch);
    }
  });
}

}  // namespace quire
