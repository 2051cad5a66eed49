#include "server/cli/backend_flags.h"

#include <map>
#include <string>

namespace quire {

void AddBackendFlags(CLI::App& command, BackendOptions& options) {
  command.add_option("--threads", options.threads, "Workers that compute; 0: one for each processor")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  command.add_option("--instruction-set", options.instruction_set,
                     "Kernels to use: portable, avx2, avx2-vnni, avx512-vnni, avx512-bf16 or amx; default: the last "
                     "of these that can run here");
  command.add_option("--max-num-seqs", options.max_num_seqs, "Sequences that run at once")
      ->check(CLI::Range(1, 1 << 16))
      ->capture_default_str();
  command
      .add_option("--max-num-batched-tokens", options.max_num_batched_tokens,
                  "Tokens a step, prompts and new ones together; at least --max-num-seqs")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  command.add_option("--block-size", options.block_size, "Tokens a KV page")
      ->check(CLI::IsMember({16, 32, 64, 128}))
      ->capture_default_str();
  command
      .add_option("--kv-cache-memory", options.kv_cache_bytes,
                  "Memory for KV pages, as 512MiB or 2GiB; default: what the sequences can use, at most a quarter of "
                  "the free memory or 1 GiB")
      ->transform(CLI::AsSizeValue(/*kb_is_1000=*/false))
      ->check(CLI::PositiveNumber);
  AddKvDTypeFlag(command, options.kv_dtype);
  command.add_flag("--no-kv-cache", options.recompute_always,
                   "Recompute the whole sequence for every token; only for comparison");
}

void AddKvDTypeFlag(CLI::App& command, KvDType& dtype) {
  const std::map<std::string, KvDType> names = {
      {"auto", kDefaultKvDType}, {"bf16", KvDType::kBF16}, {"int8", KvDType::kInt8}};
  command
      .add_option_function<std::string>(
          "--kv-cache-dtype", [&dtype, names](const std::string& name) { dtype = names.at(name); },
          "What keys and values are kept in: bf16, int8 (about half the memory, less exact), or auto: bf16")
      ->check(CLI::IsMember({"auto", "bf16", "int8"}))
      ->default_str("auto");
}

}  // namespace quire
