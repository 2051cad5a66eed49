// Measures the CUDA backend on this machine's GPU: `gpu_bench FOLDER [--small | --quick] [PART ...]` writes
// gpu_bench.json and gpu_bench.md into the folder, which must be there. --small takes a tiny model, to show that
// everything runs, and --quick fewer points. Parts are attention, matmul and throughput; without any, all of them.
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/types/status_macros.h"
#include "kernels/cuda/cuda_ops.h"
#include "tests/bench/gpu/gpu_report.h"

namespace quire {
namespace {

// Written after each measurement, so that one that fails, or is interrupted, takes none with it.
absl::Status Write(const GpuReport& report, const std::string& folder) {
  std::ofstream json(folder + "/gpu_bench.json"), markdown(folder + "/gpu_bench.md");
  json << ToJson(report);
  markdown << ToMarkdown(report);
  json.close();
  markdown.close();
  if (!json || !markdown) return absl::InvalidArgumentError(absl::StrCat("cannot write into ", folder));
  return absl::OkStatus();
}

struct Options {
  std::string folder;
  BenchPlan plan = WholePlan();
  std::vector<std::string_view> parts;

  bool Has(std::string_view part) const { return parts.empty() || std::ranges::find(parts, part) != parts.end(); }
};

// False: they make no sense.
bool Parse(std::span<char*> arguments, Options& options) {
  if (arguments.empty()) return false;
  options.folder = arguments[0];
  for (const std::string_view argument : arguments.subspan(1)) {
    if (argument == "--small") {
      options.plan = SmallPlan();
    } else if (argument == "--quick") {
      options.plan = QuickPlan();
    } else if (argument == "attention" || argument == "matmul" || argument == "throughput") {
      options.parts.push_back(argument);
    } else {
      return false;
    }
  }
  return true;
}

absl::Status Run(const Options& options) {
  const BenchPlan& plan = options.plan;
  const std::string& folder = options.folder;
  ASSIGN_OR_RETURN(const std::unique_ptr<CudaOps> ops, CudaOps::Create());
  GpuReport report;
  report.gpu = ops->Description();
  report.model = plan.model.name;
  RETURN_IF_ERROR(Write(report, folder));
  std::fprintf(stderr, "gpu_bench: %s\n", report.gpu.c_str());

  if (options.Has("attention")) {
    std::fprintf(stderr, "gpu_bench: attention\n");
    ASSIGN_OR_RETURN(report.attention, BenchAttention(plan));
    RETURN_IF_ERROR(Write(report, folder));
  }
  if (options.Has("matmul")) {
    std::fprintf(stderr, "gpu_bench: matrix products\n");
    ASSIGN_OR_RETURN(report.matmul, BenchMatMul(plan, *ops));
    RETURN_IF_ERROR(Write(report, folder));
  }
  for (const WeightTypes& weights : plan.throughput_types) {
    if (!options.Has("throughput")) break;
    const std::string name = NameOf(weights);
    std::fprintf(stderr, "gpu_bench: the engine over weights in %s\n", name.c_str());
    absl::Status written;
    const absl::Status status = BenchThroughput(plan, weights, *ops, [&](const ThroughputTiming& timing) {
      std::fprintf(stderr, "gpu_bench: %d / %d tokens: %.0f tokens/s\n", timing.lengths.input, timing.lengths.output,
                   timing.tokens_per_second);
      report.throughput.push_back(timing);
      written.Update(Write(report, folder));
    });
    RETURN_IF_ERROR(written);
    if (absl::IsResourceExhausted(status)) {
      report.notes.push_back(absl::StrCat("No room for the engine over weights in ", name, ": ", status.message()));
    } else if (!status.ok()) {
      return status;
    }
  }
  return Write(report, folder);
}

}  // namespace
}  // namespace quire

int main(int argc, char** argv) {
  quire::Options options;
  if (!quire::Parse({argv + 1, static_cast<size_t>(argc - 1)}, options)) {
    std::fprintf(stderr, "usage: gpu_bench FOLDER [--small | --quick] [attention] [matmul] [throughput]\n");
    return 2;
  }
  const absl::Status status = quire::Run(options);
  if (!status.ok()) std::fprintf(stderr, "gpu_bench: %s\n", std::string(status.message()).c_str());
  return status.ok() ? 0 : 1;
}
