// The flags of every command that loads a model.
#pragma once

#include "CLI/CLI.hpp"
#include "server/backend.h"

namespace quire {

// Adds --device, --threads, --instruction-set, --quantization, --max-num-seqs, --max-num-batched-tokens, --block-size,
// --kv-cache-memory, --kv-cache-dtype, --kv-cache-dtype-v, --no-kv-cache, and those of AddKvPolicyFlags. `options`
// outlives the parsing.
void AddBackendFlags(CLI::App& command, BackendOptions& options);
// Adds --kv-cache-dtype and --kv-cache-dtype-v alone. `dtypes` outlives the parsing.
void AddKvDTypeFlags(CLI::App& command, KvDTypeOptions& dtypes);
// Adds --kv-policy, --kv-sink-tokens and --kv-window-tokens alone. `policy` outlives the parsing.
void AddKvPolicyFlags(CLI::App& command, KvPolicyOptions& policy);
// In these flags' words: "bf16"; keys and values apart where they differ, "int8/int4".
std::string DescribeKvDTypes(const KvLayout& layout);

}  // namespace quire
