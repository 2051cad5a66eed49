// What metrics tell of a server that does not change while it runs.
#pragma once

#include <cstdint>
#include <string>

namespace quire {

struct CacheConfig {
  int block_size = 0;  // Tokens a page.
  int64_t num_blocks = 0;
  std::string dtype;  // As --kv-cache-dtype has it; keys and values apart where they differ: "int8/int4".
  bool prefix_caching = true;
};

struct MetricsOptions {
  std::string model_name = {};
  std::string architecture = {};
  int max_model_len = 0;
  CacheConfig cache = {};
};

}  // namespace quire
