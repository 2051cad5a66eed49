// The results of a run under load as a table for people or as JSON for machines.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <utility>
#include <vector>

#include "server/bench/load/load_result.h"

namespace quire {

// What was measured, and what on. `settings` are the command's options in words, in the order in which to show them.
struct LoadReport {
  std::string server;
  std::string model;
  double request_rate = 0;  // Infinite: all at once, or a closed loop.
  double burstiness = 1;
  int max_concurrency = 0;  // 0: no limit.
  int num_prompts = 0;
  std::vector<std::pair<std::string, std::string>> settings;
  GoodputLimits goodput;
  double client_cpu = 0;  // Processor seconds that the generator itself took for each second of the run.
  LoadRun run;
  LoadResult result;
};

std::string ToTable(const LoadReport& report);

// Of `vllm bench serve`: the same keys with the same meanings, and some more. With `detailed`, also its lists with an
// entry for each request (input_lens, output_lens, ttfts, itls, errors).
nlohmann::json ToJson(const LoadReport& report, bool detailed);

}  // namespace quire
