// What gpu_bench writes: one JSON file with everything, and tables in Markdown.
#pragma once

#include <string>
#include <vector>

#include "tests/bench/gpu/kernel_bench.h"
#include "tests/bench/gpu/throughput_bench.h"

namespace quire {

struct GpuReport {
  std::string gpu;    // As Ops::Description names it.
  std::string model;  // Whose shapes were measured.
  std::vector<AttentionTiming> attention;
  std::vector<MatMulTiming> matmul;
  std::vector<ThroughputTiming> throughput;
  std::vector<std::string> notes;  // What is missing and why, in sentences.
};

// The files' texts.
std::string ToJson(const GpuReport& report);
std::string ToMarkdown(const GpuReport& report);

}  // namespace quire
