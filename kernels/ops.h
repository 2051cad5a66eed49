// Ops: the operations that a decoder needs, on whatever device the backend drives. Coarse on purpose: six calls a
// layer, so that a backend can fuse inside each one and synchronise only between them.
//
// Arithmetic contract: the bits of an output row depend only on that row's own inputs, never on which or how many other
// rows are in the call, on the number of workers, on how a prompt is cut into chunks, or on the page size. Every
// implementation fixes its reduction orders accordingly. Different instruction sets may differ in rounding; one process
// uses one.
//
// Threads: one thread at a time calls into an Ops (the engine's). Calls may return before the device is done. What they
// compute with lies in memory that kernels can address (Buffer, PackedMatrix, KvCache), which the host may not be able
// to read: it reads what ToHost returns, after Synchronize(). Ids, rows, copies and the arrays of a batch are the
// host's; they are taken over before a call returns. Shapes are checked (QUIRE_CHECK): a mismatch is a bug, not an
// input error.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/paged_kv.h"
#include "kernels/sampling.h"
#include "kernels/tensor_view.h"

namespace quire {

// A weight matrix in the backend's own layout, [rows = output features, cols = input features].
class PackedMatrix {
 public:
  virtual ~PackedMatrix() = default;
  virtual int64_t rows() const = 0;
  virtual int64_t cols() const = 0;
  virtual int64_t bytes() const = 0;
};

// What weights are kept in.
enum class WeightPrecision {
  kAsStored,  // What the file has, or what the backend has that is next to it.
  // float8 (e4m3) codes with one scale for each output channel (kernels/float8.h). The rows that they are multiplied
  // with are rounded to such codes too, normalised, with a scale for each row; then
  //   y = (sum of code * code, in float32) * (scale of row * scale of channel) + bias.
  kFloat8,
};

// Floats that kernels can address.
class Buffer {
 public:
  virtual ~Buffer() = default;
  virtual float* data() const = 0;
  virtual int64_t size() const = 0;
  std::span<float> elements() const { return {data(), static_cast<size_t>(size())}; }
};

// RMSNorm: x / sqrt(mean(x^2) + epsilon) * weight. An empty weight means no normalisation.
struct RmsNorm {
  std::span<const float> weight;
  float epsilon = 0;
};

enum class Activation { kSilu, kGelu };

enum class Epilogue {
  kStore,  // output = y
  kAdd,    // output += y, the residual connection
  kGate,   // output = activation(y_gate) * y_up; the weights come from PackGated
};

// output = epilogue(norm(input) . weights^T + bias). Shapes: input [M, K], weights [N, K], bias [N] or empty, output
// [M, N]
// ([M, N/2] for kGate). input and output may overlap only with kAdd and when they are not the same rows.
struct MatMulArgs {
  MatrixView<const float> input;
  RmsNorm norm = {};
  const PackedMatrix* weights = nullptr;
  std::span<const float> bias = {};
  Epilogue epilogue = Epilogue::kStore;
  Activation activation = Activation::kSilu;
  MatrixView<float> output;
};

enum class RopeKind {
  kInterleaved,  // rotates (x[2i], x[2i+1]): the order in which GGUF stores Llama's Q and K
  kHalves,       // rotates (x[i], x[i + n/2]): "NeoX"
};

// Rotary position embedding (arXiv:2104.09864) of the first 2 * inverse_frequencies.size() dimensions of each head:
// angle = position * inverse_frequencies[i].
struct Rope {
  RopeKind kind = RopeKind::kInterleaved;
  std::span<const float> inverse_frequencies;
};

// Normalises (where a norm is given, per head: "QK-norm") and rotates Q in place and K, and writes K and V of every
// token to its slot of layer `layer`. qkv is [T, (heads + 2 * kv_heads) * head_dim]: Q, then K, then V.
struct RopeAppendArgs {
  MatrixView<float> qkv;
  int num_heads = 0;
  RmsNorm query_norm;
  RmsNorm key_norm;
  Rope rope;
  int layer = 0;
  KvCache* kv_cache = nullptr;
  PagedBatchView batch;
};

// Causal attention of every query token over its sequence's pages: softmax(scale * q . K^T) . V. A token at position p
// sees positions (p - sliding_window, p], or all up to p where sliding_window is 0. Query head h reads KV head h /
// (num_heads / num_kv_heads). Reads Q from the first num_heads * head_dim columns of qkv; output is [T, num_heads *
// head_dim].
struct AttentionArgs {
  MatrixView<const float> qkv;
  int num_heads = 0;
  float scale = 0;
  int sliding_window = 0;
  int layer = 0;
  const KvCache* kv_cache = nullptr;
  PagedBatchView batch;
  MatrixView<float> output;
};

// What a backend keeps of steps that resemble each other, so as to be faster at the next. The Ops that made it outlives
// it; it does not outlive the arguments of the calls that it was made of.
class StepRecording {
 public:
  virtual ~StepRecording() = default;
};

struct StepArgs {
  PagedBatchView batch;
  int max_rows = 0;  // That activations have room for: at least the batch's tokens.
  // The steps that share one are alike in all that their layers do, but for the batch and the number of rows. nullptr:
  // the step is like no other.
  StepRecording* recording = nullptr;
};

class Ops {
 public:
  virtual ~Ops() = default;

  // For logs: "cpu, avx512-bf16, 2 workers".
  virtual std::string Description() const = 0;
  // What computes to the same bits, and lays pages out alike, says the same: "cpu, avx512-bf16".
  virtual std::string Arithmetic() const { return Description(); }

  // Whether weights can be packed in it.
  virtual bool can_pack(WeightPrecision precision) const { return precision == WeightPrecision::kAsStored; }
  // Repacks weights; `parts` are stacked along rows and share cols (Q, K and V; or a single matrix). The result does
  // not refer to the parts' bytes; Embed takes none but what is packed as stored. RESOURCE_EXHAUSTED when memory cannot
  // be had, INVALID_ARGUMENT on shapes that do not stack and where the precision cannot be packed in.
  virtual absl::StatusOr<std::unique_ptr<PackedMatrix>> Pack(std::span<const RawMatrix> parts,
                                                             WeightPrecision precision) = 0;
  // Interleaves two matrices of one shape for Epilogue::kGate.
  virtual absl::StatusOr<std::unique_ptr<PackedMatrix>> PackGated(const RawMatrix& gate, const RawMatrix& up,
                                                                  WeightPrecision precision) = 0;
  virtual absl::StatusOr<std::unique_ptr<KvCache>> AllocateKvCache(const KvLayout& layout) = 0;
  // Bytes that are free where the kernels' memory is; nothing where that is the host's.
  virtual std::optional<int64_t> FreeDeviceMemory() const { return std::nullopt; }
  // Zeros. RESOURCE_EXHAUSTED when memory cannot be had.
  virtual absl::StatusOr<std::unique_ptr<Buffer>> Allocate(int64_t floats) = 0;
  // A copy of the host's values.
  virtual absl::StatusOr<std::unique_ptr<Buffer>> Upload(std::span<const float> values) = 0;

  // nullptr where there is nothing to record.
  virtual std::unique_ptr<StepRecording> NewRecording() { return nullptr; }
  // Runs the layers of a step, once a step: layers(num_rows) makes their calls of MatMul, RopeAppend and Attention,
  // over activations of num_rows rows. These are the batch's tokens and, behind them, up to max_rows, rows that mean
  // nothing: they may be computed with, and no other row's bits depend on them. Where the step has a recording, a
  // backend may repeat what it has recorded of an earlier step instead of calling `layers`. All is about this batch
  // until Synchronize or EndStep ends the step.
  virtual void RunStep(const StepArgs& step, absl::FunctionRef<void(int num_rows)> layers) {
    layers(step.batch.num_tokens());
  }
  // output[t] = row ids[t] of table, dequantised. Ids are in range, or ChosenForRow(r) of a row of the step before, which
  // EndStep ended: the r-th that it had Sample choose for, in all calls together. Where that step failed, so does this.
  virtual void Embed(const PackedMatrix& table, std::span<const int32_t> ids, MatrixView<float> output) = 0;
  virtual void MatMul(const MatMulArgs& args) = 0;
  virtual void RopeAppend(const RopeAppendArgs& args) = 0;
  virtual void Attention(const AttentionArgs& args) = 0;
  // output[i] = input[rows[i]].
  virtual void GatherRows(MatrixView<const float> input, std::span<const int32_t> rows, MatrixView<float> output) = 0;
  virtual void CopyPages(KvCache& kv_cache, std::span<const PageCopy> copies) = 0;

  // Pages between the cache and the host's memory, while steps go on. Calls return at once; transfers are numbered from
  // 1 and done in that order. One begins when the steps and copies called before it are done, and no step waits for it:
  // until it is done, pages that it reads are not to be written, and those that it writes are neither to be read nor
  // written. A call that fails has touched nothing that it will touch any more. UNIMPLEMENTED without such memory.
  virtual absl::StatusOr<std::unique_ptr<HostPages>> AllocateHostPages(const KvLayout& /*layout*/, int /*num_pages*/) {
    return absl::UnimplementedError("this backend keeps no pages beside the cache");
  }
  virtual absl::StatusOr<uint64_t> StartToHost(const KvCache& /*kv_cache*/, std::span<const PageTransfer> /*pages*/,
                                               HostPages& /*host*/) {
    return absl::UnimplementedError("this backend keeps no pages beside the cache");
  }
  virtual absl::StatusOr<uint64_t> StartFromHost(KvCache& /*kv_cache*/, std::span<const PageTransfer> /*pages*/,
                                                 const HostPages& /*host*/) {
    return absl::UnimplementedError("this backend keeps no pages beside the cache");
  }
  // The last transfer that is done, 0 before the first. With wait_for, it is at least this one, which has been started.
  // UNAVAILABLE when the device is lost: transfers that were not done never will be.
  virtual absl::StatusOr<uint64_t> TransfersDone(uint64_t /*wait_for*/ = 0) { return 0; }

  // The same elements where the host may read them once Synchronize() has returned, until the next call of ToHost.
  virtual MatrixView<const float> ToHost(MatrixView<const float> matrix) = 0;
  // Whether Sample may be called; where not, the host chooses from what ToHost gives.
  virtual bool can_sample() const { return false; }
  // Chooses a token for each of num_rows rows, which `row` tells one after the other, from logits [rows, vocabulary] in
  // memory that kernels can address. What it returns may be read once Synchronize() has returned, until the next call
  // behind that: a step may have several.
  virtual std::span<const SampledRow> Sample(MatrixView<const float> /*logits*/, int /*num_rows*/,
                                             absl::FunctionRef<SampleRow(int index)> /*row*/) {
    return {};
  }
  // Waits for all calls before it. UNAVAILABLE when the device has failed since the last time: nothing that was
  // computed in between may be relied upon. REQUIRES: AwaitStep has been called for each step that EndStep ended.
  virtual absl::Status Synchronize() = 0;

  // Instead of Synchronize, so that a step can be put on its way while the one before it is at work. EndStep ends the
  // calls of a step none of whose results come by ToHost; AwaitStep waits for the oldest that was ended and not awaited,
  // with Synchronize's errors, those of its own calls only. What Sample returned may then be read until the next but one
  // EndStep. REQUIRES: at most kMostQueuedSteps are ended and not awaited, one where the backend cannot queue them.
  static constexpr int kMostQueuedSteps = 2;
  virtual bool can_queue_steps() const { return false; }
  virtual void EndStep() {}
  virtual absl::Status AwaitStep() { return Synchronize(); }

  // Calls fn(index, worker) for every index in [0, count) and returns when all are done: work of the host's, such as
  // sampling, for the threads that the backend has anyway. Calls of one worker, in [0, num_host_workers()), come one
  // after another.
  virtual int num_host_workers() const { return 1; }
  virtual void ForEach(int64_t count, absl::FunctionRef<void(int64_t index, int worker)> fn) {
    for (int64_t index = 0; index < count; ++index) fn(index, 0);
  }
};

struct CpuOptions {
  int num_threads = 0;  // Workers, the calling thread among them; 0 = the processors this process may use.
  // "" for the best, or the one to use: "portable", "avx2", "avx2-vnni", "avx512-vnni", "avx512-bf16",
  // "amx".
  std::string instruction_set;
  // Is told, during MakeCpuOps, why the best that the machine has is not used.
  std::function<void(const std::string& warning)> warn = nullptr;
};

// INVALID_ARGUMENT for an instruction set that is unknown or that this machine lacks.
absl::StatusOr<std::unique_ptr<Ops>> MakeCpuOps(const CpuOptions& options);

struct CudaOptions {
  bool record_steps = true;  // As CUDA graphs; otherwise every kernel is launched for every step.
  // Is told, once, why steps are no longer recorded.
  std::function<void(const std::string& warning)> warn = nullptr;
};

enum class Device {
  kAuto,  // A GPU where this build and the machine have one, else the CPU.
  kCpu,
  kCuda,
};

struct OpsOptions {
  Device device = Device::kAuto;
  CpuOptions cpu;
  CudaOptions cuda;
};

// INVALID_ARGUMENT says what this build or this machine lacks.
absl::StatusOr<std::unique_ptr<Ops>> MakeOps(const OpsOptions& options);

}  // namespace quire
