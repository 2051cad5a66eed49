#include <cstdio>
#include <random>
#include <string>

#include "engine/types/status_macros.h"
#include "kernels/cuda/matmul.h"
#include "tests/bench/gpu/gpu_timer.h"
#include "tests/bench/gpu/kernel_bench.h"
#include "tests/bench/gpu/repeated_weights.h"
#include "tests/kernels/cpu/paged_batch.h"

namespace quire {
namespace {

struct MatrixShape {
  std::string name;
  int64_t outputs = 0;  // Rows of the weights; of each of two where gated.
  int64_t inputs = 0;
  bool gated = false;
  bool is_head = false;
};

std::vector<MatrixShape> MatricesOf(const ModelShape& model) {
  const int64_t queries = int64_t{model.num_heads} * model.head_dim;
  const int64_t keys = int64_t{model.num_kv_heads} * model.head_dim;
  return {{"qkv", queries + 2 * keys, model.hidden_size},
          {"output", model.hidden_size, queries},
          {"gate_up", model.intermediate_size, model.hidden_size, true},
          {"down", model.hidden_size, model.intermediate_size},
          {"head", model.vocab_size, model.hidden_size, /*gated=*/false, /*is_head=*/true}};
}

// Copies of a matrix, for one pass to read plan.bytes_to_read.
absl::StatusOr<std::vector<std::unique_ptr<PackedMatrix>>> PackCopies(const BenchPlan& plan, const MatrixShape& shape,
                                                                      const WeightTypes& types, RepeatedWeights& source,
                                                                      Ops& ops) {
  const RawMatrix raw = source.Matrix(types.dtype, shape.outputs, shape.inputs);
  std::vector<std::unique_ptr<PackedMatrix>> copies;
  int64_t bytes = 0;
  do {
    ASSIGN_OR_RETURN(copies.emplace_back(),
                     shape.gated ? ops.PackGated(raw, raw, types.precision) : ops.Pack({&raw, 1}, types.precision));
    bytes += copies.back()->bytes();
  } while (bytes < plan.bytes_to_read);
  return copies;
}

absl::Status Measure(const BenchPlan& plan, const MatrixShape& shape, const WeightTypes& types, RepeatedWeights& source,
                     Ops& ops, GpuTimer& timer, std::vector<MatMulTiming>& timings) {
  std::mt19937 random(20261124);
  ASSIGN_OR_RETURN(const auto copies, PackCopies(plan, shape, types, source, ops));
  for (const int rows : plan.row_counts) {
    const Matrix host_input = RandomMatrix(rows, shape.inputs, random);
    ASSIGN_OR_RETURN(const std::unique_ptr<Buffer> input, ops.Upload(host_input.data));
    ASSIGN_OR_RETURN(const std::unique_ptr<Buffer> output, ops.Allocate(rows * shape.outputs));
    RETURN_IF_ERROR(ops.Synchronize());
    MatMulScratch scratch;
    RETURN_IF_ERROR(scratch.Reserve(rows, shape.inputs, nullptr));
    MatMulArgs args;
    args.input = {input->data(), rows, shape.inputs, shape.inputs};
    args.epilogue = shape.gated ? Epilogue::kGate : Epilogue::kStore;
    args.output = {output->data(), rows, shape.outputs, shape.outputs};
    const auto multiply_with_all = [&](CudaStream stream) {
      for (const auto& weights : copies) {
        args.weights = weights.get();
        MatMul(args, scratch, stream);
      }
    };
    ASSIGN_OR_RETURN(const double seconds_of_all, timer.MedianSeconds(multiply_with_all));
    ASSIGN_OR_RETURN(const double graph_seconds_of_all, timer.MedianSecondsOfGraph(multiply_with_all));
    const auto num_copies = static_cast<double>(copies.size());
    const double seconds = seconds_of_all / num_copies, graph_seconds = graph_seconds_of_all / num_copies;
    const auto gigabytes = 1e-9 * static_cast<double>(copies[0]->bytes());
    const double multiply_adds = static_cast<double>(rows * shape.inputs) * static_cast<double>(copies[0]->rows());
    timings.push_back({shape.name, types, rows, seconds, gigabytes / seconds, graph_seconds, gigabytes / graph_seconds,
                       2 * multiply_adds / seconds * 1e-12});
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<MatMulTiming>> BenchMatMul(const BenchPlan& plan, Ops& ops) {
  GpuTimer timer(plan.repeats);
  RepeatedWeights source;
  std::vector<MatMulTiming> timings;
  for (const WeightTypes& types : plan.matmul_types) {
    for (const MatrixShape& shape : MatricesOf(plan.model)) {
      if (shape.is_head && types.precision != WeightPrecision::kAsStored) continue;  // It stays as stored.
      const absl::Status status = Measure(plan, shape, types, source, ops, timer, timings);
      if (absl::IsResourceExhausted(status)) {
        std::fprintf(stderr, "no room for all of %s in %s\n", shape.name.c_str(), NameOf(types).c_str());
      } else if (!status.ok()) {
        return status;
      }
    }
  }
  return timings;
}

}  // namespace quire
