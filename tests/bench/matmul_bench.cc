// Matrix multiplications of SmolLM2-135M's shapes: each on its own with weights in cache, and all of one step, 30
// layers of distinct weights, which is what bounds tokens a second.
#include <benchmark/benchmark.h>

#include <memory>
#include <random>
#include <string>
#include <vector>

#include "kernels/cpu/aligned_memory.h"
#include "kernels/cpu/cpu_features.h"
#include "kernels/cpu/packed_matrix.h"
#include "kernels/ops.h"
#include "tests/kernels/cpu/machine_peak.h"
#include "tests/kernels/cpu/paged_batch.h"
#include "tests/kernels/random_weights.h"

namespace quire {
namespace {

constexpr int kLayers = 30, kHidden = 576, kQkv = 960, kFeedForward = 1536, kVocabulary = 49152;

std::unique_ptr<Ops> MakeOps(const std::string& instruction_set) {
  return MakeCpuOps({.num_threads = 0, .instruction_set = instruction_set}).value();
}

std::unique_ptr<PackedMatrix> RandomPacked(Ops& ops, DType dtype, int64_t rows, int64_t cols, bool gated = false) {
  std::mt19937 random(1);
  const RandomWeights weights(dtype, rows, cols, random);
  const RawMatrix part = weights.raw();
  return gated ? ops.PackGated(part, part, WeightPrecision::kAsStored).value()
               : ops.Pack({&part, 1}, WeightPrecision::kAsStored).value();
}

// Counters of what the benchmark did in all its iterations, also as shares of what the machine can do.
void ReportWork(benchmark::State& state, const std::string& instruction_set, double macs, double weight_bytes) {
  using benchmark::Counter;
  state.counters["MAC/s"] = Counter(macs, Counter::kIsRate);
  state.counters["weights_B/s"] = Counter(weight_bytes, Counter::kIsRate, Counter::kIs1024);
  state.counters["of_read_peak"] = Counter(weight_bytes / PeakReadRate(), Counter::kIsRate);
  if (const double peak = PeakDotProductRate(instruction_set); peak > 0) {
    state.counters["of_int8_peak"] = Counter(macs / peak, Counter::kIsRate);
  }
}

void OneMatrix(benchmark::State& state, const std::string& instruction_set, DType dtype, int64_t rows, int64_t cols) {
  const auto ops = MakeOps(instruction_set);
  const auto weights = RandomPacked(*ops, dtype, rows, cols);
  std::mt19937 random(2);
  Matrix input = RandomMatrix(state.range(0), cols, random), output(state.range(0), rows);
  MatMulArgs args;
  args.input = input.view();
  args.weights = weights.get();
  args.output = output.view();
  for (auto _ : state) ops->MatMul(args);
  ReportWork(state, instruction_set, static_cast<double>(state.iterations() * state.range(0) * rows * cols),
             static_cast<double>(state.iterations() * weights->bytes()));
}

// M tokens through all matrices of the model. Decoding needs logits of all of them, a prompt those of its last only.
void WholeModel(benchmark::State& state, const std::string& instruction_set, bool all_logits) {
  const auto ops = MakeOps(instruction_set);
  struct Layer {
    std::unique_ptr<PackedMatrix> qkv, output, gate_up, down;
  };
  std::vector<Layer> layers(kLayers);
  for (Layer& layer : layers) {
    layer.qkv = RandomPacked(*ops, DType::kQ4_1, kQkv, kHidden);
    layer.output = RandomPacked(*ops, DType::kQ4_1, kHidden, kHidden);
    layer.gate_up = RandomPacked(*ops, DType::kQ4_1, kFeedForward, kHidden, /*gated=*/true);
    layer.down = RandomPacked(*ops, DType::kQ4_1, kHidden, kFeedForward);
  }
  const auto head = RandomPacked(*ops, DType::kQ8_0, kVocabulary, kHidden);
  const int64_t tokens = state.range(0);
  std::mt19937 random(2);
  const std::vector<float> norm_weight(kHidden, 1.0f);
  Matrix hidden = RandomMatrix(tokens, kHidden, random), attention = hidden, qkv(tokens, kQkv);
  Matrix gated(tokens, kFeedForward), logits(all_logits ? tokens : 1, kVocabulary);
  const auto multiply = [&](MatrixView<float> input, const PackedMatrix& weights, MatrixView<float> output,
                            Epilogue epilogue, bool normalize) {
    MatMulArgs args;
    args.input = input;
    if (normalize) args.norm = {norm_weight, 1e-5f};
    args.weights = &weights;
    args.epilogue = epilogue;
    args.output = output;
    ops->MatMul(args);
  };
  double macs = static_cast<double>(logits.rows) * kVocabulary * kHidden, bytes = static_cast<double>(head->bytes());
  for (const Layer& layer : layers) {
    macs += static_cast<double>(tokens) * (kQkv * kHidden + kHidden * kHidden + 3 * kFeedForward * kHidden);
    for (const auto* weights : {&layer.qkv, &layer.output, &layer.gate_up, &layer.down}) bytes += (*weights)->bytes();
  }
  for (auto _ : state) {
    for (const Layer& layer : layers) {
      multiply(hidden.view(), *layer.qkv, qkv.view(), Epilogue::kStore, true);
      multiply(attention.view(), *layer.output, hidden.view(), Epilogue::kStore, false);
      multiply(hidden.view(), *layer.gate_up, gated.view(), Epilogue::kGate, true);
      multiply(gated.view(), *layer.down, hidden.view(), Epilogue::kStore, false);
    }
    multiply({hidden.data.data(), logits.rows, kHidden, kHidden}, *head, logits.view(), Epilogue::kStore, true);
  }
  state.counters["tokens/s"] =
      benchmark::Counter(static_cast<double>(state.iterations() * tokens), benchmark::Counter::kIsRate);
  ReportWork(state, instruction_set, macs * state.iterations(), bytes * state.iterations());
}

void Packing(benchmark::State& state, DType dtype) {
  const auto ops = MakeOps("");
  std::mt19937 random(1);
  const RandomWeights weights(dtype, 8 * kFeedForward, 1024, random);
  const RawMatrix part = weights.raw();
  for (auto _ : state) benchmark::DoNotOptimize(ops->Pack({&part, 1}, WeightPrecision::kAsStored).value());
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * weights.bytes.size()));
}

[[maybe_unused]] const bool registered = [] {
  for (InstructionSet supported : SupportedInstructionSets()) {
    const std::string name(NameOf(supported));
    const auto whole = [&name](const std::string& what, bool all_logits, std::vector<int64_t> token_counts) {
      for (int64_t tokens : token_counts) {
        benchmark::RegisterBenchmark(("WholeModel/" + what + "/" + name).c_str(), WholeModel, name, all_logits)
            ->Arg(tokens)
            ->UseRealTime()
            ->Unit(benchmark::kMillisecond);
      }
    };
    whole("decode", true, {1, 2, 4, 8, 16, 64});
    whole("prefill", false, {128, 256});
    for (const auto& [what, dtype, rows, cols] : {std::tuple{"qkv", DType::kQ4_1, kQkv, kHidden},
                                                  {"output", DType::kQ4_1, kHidden, kHidden},
                                                  {"gate_up", DType::kQ4_1, 2 * kFeedForward, kHidden},
                                                  {"down", DType::kQ4_1, kHidden, kFeedForward},
                                                  {"head", DType::kQ8_0, kVocabulary, kHidden},
                                                  {"q4_k", DType::kQ4_K, kQkv, 1536},
                                                  {"q6_k", DType::kQ6_K, kQkv, 1536},
                                                  {"bf16", DType::kBF16, kQkv, kHidden},
                                                  {"f32", DType::kF32, kQkv, kHidden}}) {
      benchmark::RegisterBenchmark((std::string("MatMul/") + what + "/" + name).c_str(), OneMatrix, name, dtype, rows,
                                   cols)
          ->Arg(1)
          ->Arg(4)
          ->Arg(16)
          ->Arg(128)
          ->UseRealTime()
          ->Unit(benchmark::kMicrosecond);
    }
  }
  for (DType dtype : {DType::kQ4_1, DType::kQ8_0, DType::kQ6_K, DType::kF16}) {
    benchmark::RegisterBenchmark(("Pack/" + std::string(TraitsOf(dtype).name)).c_str(), Packing, dtype)
        ->UseRealTime()
        ->Unit(benchmark::kMillisecond);
  }
  return true;
}();

}  // namespace
}  // namespace quire
