#include <cuda_runtime.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <random>
#include <span>

#include "engine/types/status_macros.h"
#include "kernels/cuda/attention.h"
#include "kernels/cuda/cuda_status.h"
#include "kernels/cuda/kv_cache.h"
#include "tests/bench/gpu/gpu_timer.h"
#include "tests/bench/gpu/kernel_bench.h"
#include "tests/kernels/cpu/paged_batch.h"

namespace quire {
namespace {

constexpr int kPageSize = 32;

template <typename T>
absl::StatusOr<DeviceMemory> CopyToDevice(std::span<const T> values) {
  ASSIGN_OR_RETURN(DeviceMemory memory, DeviceMemory::Allocate(values.size_bytes(), "a benchmark"));
  const cudaError_t error = cudaMemcpy(memory.data(), values.data(), values.size_bytes(), cudaMemcpyHostToDevice);
  if (error != cudaSuccess) return ToStatus(error, "copy to the device");
  return memory;
}

template <typename T>
T* As(const DeviceMemory& memory) {
  return reinterpret_cast<T*>(memory.data());
}

int NumWorkers() {
  int multiprocessors = 1;
  cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, 0);
  return 2 * multiprocessors;  // As CudaOps plans.
}

// As many layers as it takes to read plan.bytes_to_read; one pass goes through all of them.
KvLayout LayoutFor(const BenchPlan& plan, const std::vector<SequenceShape>& shapes, const KvTypes& kv) {
  KvLayout layout = {.num_layers = 1,
                     .num_heads = plan.model.num_heads,
                     .num_kv_heads = plan.model.num_kv_heads,
                     .head_dim = plan.model.head_dim,
                     .page_size = kPageSize,
                     .num_pages = PagesFor(shapes, kPageSize),
                     .key_dtype = kv.key,
                     .value_dtype = kv.value};
  layout.num_layers += static_cast<int>(plan.bytes_to_read / (layout.BytesPerPage() * layout.num_pages));
  return layout;
}

absl::StatusOr<AttentionTiming> Measure(const BenchPlan& plan, const PromptShape& shape, const KvTypes& kv,
                                        GpuTimer& timer) {
  std::mt19937 random(20261124);
  const ModelShape& model = plan.model;
  const std::vector<SequenceShape> shapes(shape.batch, {shape.context, shape.tokens});
  const KvLayout layout = LayoutFor(plan, shapes, kv);
  ASSIGN_OR_RETURN(const std::unique_ptr<CudaKvCache> cache, CudaKvCache::Create(layout));
  // Small numbers in every type: 0.01 in bfloat16 and as a scale, 60 and 1.5 as codes.
  const cudaError_t error = cudaMemset(cache->memory(), 0x3c, layout.BytesPerPage() * layout.num_pages);
  if (error != cudaSuccess) return ToStatus(error, "fill the KV cache");

  const PagedBatch batch(shapes, kPageSize, layout.num_pages, random);
  CudaAttentionPlan work;
  work.Update(batch.view(), {.num_kv_heads = model.num_kv_heads,
                             .group = model.num_heads / model.num_kv_heads,
                             .page_size = kPageSize,
                             .num_pages = layout.num_pages,
                             .max_tile_rows = CudaAttentionTileRows(model.head_dim, kv.key, kv.value),
                             .num_workers = NumWorkers()});
  const Matrix queries = RandomMatrix(batch.view().num_tokens(), int64_t{model.num_heads} * model.head_dim, random);
  const size_t partial_floats = CudaAttentionPartialFloats(work.num_partials(), model.num_heads, model.head_dim);
  ASSIGN_OR_RETURN(const DeviceMemory device_queries, CopyToDevice<float>(queries.data));
  const CudaAttentionRoom room = work.NeededRoom();
  std::vector<int32_t> plan_words(room.num_words());
  work.Write(room, plan_words);
  ASSIGN_OR_RETURN(const DeviceMemory words, CopyToDevice<int32_t>(plan_words));
  ASSIGN_OR_RETURN(const DeviceMemory positions, CopyToDevice<int32_t>(batch.view().positions));
  ASSIGN_OR_RETURN(const DeviceMemory block_indices, CopyToDevice<int32_t>(batch.view().block_indices));
  ASSIGN_OR_RETURN(const DeviceMemory output,
                   DeviceMemory::Allocate(queries.data.size() * sizeof(float), "a benchmark"));
  ASSIGN_OR_RETURN(const DeviceMemory partials,
                   DeviceMemory::Allocate(std::max<size_t>(partial_floats, 1) * sizeof(float), "a benchmark"));

  CudaAttentionArgs args;
  args.queries = As<float>(device_queries);
  args.query_stride = queries.cols;
  args.output = As<float>(output);
  args.output_stride = queries.cols;
  args.num_heads = model.num_heads;
  args.scale = 1 / std::sqrt(static_cast<float>(model.head_dim));
  args.positions = As<int32_t>(positions);
  args.block_indices = As<int32_t>(block_indices);
  args.plan = CudaAttentionPlan::ViewAt(As<int32_t>(words), room);
  args.partials = As<float>(partials);
  ASSIGN_OR_RETURN(const double seconds, timer.MedianSeconds([&](CudaStream stream) {
    for (int layer = 0; layer < layout.num_layers; ++layer) {
      args.layer = cache->Layer(layer);
      AttentionOnCuda(args, stream);
    }
  }));
  const double per_layer = seconds / layout.num_layers;
  const double bytes = static_cast<double>(layout.BytesPerToken()) / layout.num_layers * shape.batch * shape.context;
  const double seen = shape.batch * shape.tokens * (shape.context - (shape.tokens - 1) / 2.0);
  const double operations = 4.0 * seen * model.num_heads * model.head_dim;
  return AttentionTiming{shape.batch, shape.context,         shape.tokens,                  kv,
                         per_layer,   bytes / per_layer * 1e-9, operations / per_layer * 1e-12};
}

// Generated tokens first, then prompts.
std::vector<PromptShape> ShapesOf(const BenchPlan& plan) {
  std::vector<PromptShape> shapes;
  for (const int context : plan.contexts) {
    for (const int batch : plan.batches) shapes.push_back({batch, context, 1});
  }
  shapes.insert(shapes.end(), plan.prompts.begin(), plan.prompts.end());
  return shapes;
}

}  // namespace

absl::StatusOr<std::vector<AttentionTiming>> BenchAttention(const BenchPlan& plan) {
  GpuTimer timer(plan.repeats);
  std::vector<AttentionTiming> timings;
  for (const KvTypes& kv : plan.kv_types) {
    for (const PromptShape& shape : ShapesOf(plan)) {
      absl::StatusOr<AttentionTiming> timing = Measure(plan, shape, kv, timer);
      if (timing.ok()) {
        timings.push_back(*timing);
      } else if (absl::IsResourceExhausted(timing.status())) {
        std::fprintf(stderr, "no room for attention of %d x %d over %s\n", shape.batch, shape.context,
                     NameOf(kv).c_str());
      } else {
        return timing.status();
      }
    }
  }
  return timings;
}

}  // namespace quire
