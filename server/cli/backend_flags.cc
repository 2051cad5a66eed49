#include "server/cli/backend_flags.h"

#include <map>
#include <string>

#include "absl/strings/str_cat.h"

namespace quire {
namespace {

const std::map<std::string, KvDType>& KvDTypes() {
  static const auto& names = *new std::map<std::string, KvDType>{
      {"bf16", KvDType::kBF16}, {"int8", KvDType::kInt8}, {"int4", KvDType::kInt4}, {"fp8", KvDType::kFp8}};
  return names;
}

}  // namespace

void AddBackendFlags(CLI::App& command, BackendOptions& options) {
  static const std::map<std::string, Device>& devices = *new std::map<std::string, Device>{
      {"auto", Device::kAuto}, {"cpu", Device::kCpu}, {"cuda", Device::kCuda}};
  command
      .add_option_function<std::string>(
          "--device", [&options](const std::string& name) { options.device = devices.at(name); },
          "What computes: cpu, cuda, or auto: a GPU where there is one")
      ->check(CLI::IsMember({"auto", "cpu", "cuda"}))
      ->default_str("auto");
  command.add_option("--threads", options.threads, "Workers that compute; 0: one for each processor")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  command.add_option("--instruction-set", options.instruction_set,
                     "Kernels to use: portable, avx2, avx2-vnni, avx512-vnni, avx512-bf16 or amx; default: the last "
                     "of these that can run here");
  command
      .add_option_function<std::string>(
          "--quantization",
          [&options](const std::string& name) {
            options.precision = name == "fp8" ? WeightPrecision::kFloat8 : WeightPrecision::kAsStored;
          },
          "What the matrices of layers are rounded to while they are loaded: none, or on a GPU fp8, and then also what "
          "they are multiplied with")
      ->check(CLI::IsMember({"none", "fp8"}))
      ->default_str("none");
  command.add_option("--max-num-seqs", options.max_num_seqs, "Sequences that run at once")
      ->check(CLI::Range(1, 1 << 16))
      ->capture_default_str();
  command
      .add_option("--max-num-batched-tokens", options.max_num_batched_tokens,
                  "Tokens a step, prompts and new ones together; at least --max-num-seqs; default: 256 on a CPU, 4096 "
                  "on a GPU, or --max-num-seqs where that is more")
      ->check(CLI::Range(1, 1 << 20));
  command.add_option("--block-size", options.block_size, "Tokens a KV page")
      ->check(CLI::IsMember({16, 32, 64, 128}))
      ->capture_default_str();
  command
      .add_option("--kv-cache-memory", options.kv_cache_bytes,
                  "Memory for KV pages, as 512MiB or 2GiB; default: what the sequences can use, at most a quarter of "
                  "the free memory or 1 GiB, of a GPU most of the free memory")
      ->transform(CLI::AsSizeValue(/*kb_is_1000=*/false))
      ->check(CLI::PositiveNumber);
  AddKvDTypeFlags(command, options.kv_dtypes);
  AddKvPolicyFlags(command, options.kv_policy);
  command.add_flag("--no-kv-cache", options.recompute_always,
                   "Recompute the whole sequence for every token; only for comparison");
}

void AddKvPolicyFlags(CLI::App& command, KvPolicyOptions& policy) {
  command
      .add_option_function<std::string>(
          "--kv-policy", [&policy](const std::string& name) { policy.sink_window = name == "sink-window"; },
          "What of a sequence's KV is kept: full, or sink-window: the first tokens and the most recent ones, so that "
          "streams of any length (--max-model-len) need a fixed number of pages")
      ->check(CLI::IsMember({"full", "sink-window"}))
      ->default_str("full");
  command
      .add_option("--kv-sink-tokens", policy.sink_tokens,
                  "With sink-window: first tokens that are kept, whole pages; default: one page")
      ->check(CLI::Range(0, 1 << 20));
  command
      .add_option("--kv-window-tokens", policy.window_tokens,
                  "With sink-window: most recent tokens that are kept, whole pages; default: as many as the model was "
                  "trained for, with the sinks")
      ->check(CLI::Range(1, 1 << 24));
}

void AddKvDTypeFlags(CLI::App& command, KvDTypeOptions& dtypes) {
  command
      .add_option_function<std::string>(
          "--kv-cache-dtype",
          [&dtypes](const std::string& name) { dtypes.key = name == "auto" ? kDefaultKvDType : KvDTypes().at(name); },
          "What keys are kept in, and values unless told otherwise: bf16; int8, on a CPU also int4, on a GPU also fp8 "
          "(about a half, a quarter and a half of the memory, less exact); or auto: bf16")
      ->check(CLI::IsMember({"auto", "bf16", "int8", "int4", "fp8"}))
      ->default_str("auto");
  command
      .add_option_function<std::string>(
          "--kv-cache-dtype-v", [&dtypes](const std::string& name) { dtypes.value = KvDTypes().at(name); },
          "What values are kept in: on a CPU bf16 beside keys in bf16, int8 or int4 beside others; on a GPU bf16, int8 "
          "or fp8 beside any; default: as keys")
      ->check(CLI::IsMember({"bf16", "int8", "int4", "fp8"}));
}

std::string DescribeKvDTypes(const KvLayout& layout) {
  const auto name = [](KvDType dtype) -> std::string {
    for (const auto& [candidate, value] : KvDTypes()) {
      if (value == dtype) return candidate;
    }
    return "unknown";
  };
  if (layout.key_dtype == layout.value_dtype) return name(layout.key_dtype);
  return absl::StrCat(name(layout.key_dtype), "/", name(layout.value_dtype));
}

}  // namespace quire
