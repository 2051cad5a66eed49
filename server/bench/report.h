// Results of `quire bench` as a table for people or as JSON for machines.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "server/bench/load/load_report.h"
#include "server/bench/offline_bench.h"
#include "server/bench/perplexity.h"

namespace quire {

struct BenchReport {
  std::string processor;  // As the operating system names it.
  std::string backend;    // Ops::Description().
  std::vector<BatchThroughput> throughput;
  std::optional<CacheComparison> cache;
  std::vector<Perplexity> perplexity;
  std::optional<LoadReport> load;
};

// The first "model name" of /proc/cpuinfo, or "unknown processor".
std::string ProcessorName();

std::string ToTable(const BenchReport& report);
std::string ToJson(const BenchReport& report);

}  // namespace quire
