#include "server/cli/bench.h"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "engine/types/status_macros.h"
#include "server/backend.h"
#include "server/bench/load_bench.h"
#include "server/bench/offline_bench.h"
#include "server/bench/perplexity.h"
#include "server/bench/report.h"
#include "server/cli/backend_flags.h"
#include "server/cli/progress_bar.h"

namespace quire {
namespace {

struct BenchOptions {
  BackendOptions backend;
  OfflineBenchOptions offline;
  LoadBenchOptions load;
  int generate_tokens = 0;
  std::string perplexity_file;
  bool json = false;
};

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text(std::istreambuf_iterator<char>(file), {});
  if (!file) return absl::NotFoundError(absl::StrCat("--perplexity: cannot read ", path));
  return text;
}

absl::Status BenchEngine(const BenchOptions& options, BenchReport* report) {
  for (const int batch_size : options.offline.batch_sizes) {
    if (options.perplexity_file.empty() && batch_size > options.backend.max_num_seqs) {
      return absl::InvalidArgumentError(absl::StrCat("--batch-sizes must be at most --max-num-seqs (",
                                                     options.backend.max_num_seqs, "), got ", batch_size));
    }
  }
  std::unique_ptr<Backend> backend;
  {
    ProgressBar bar("loading");
    ASSIGN_OR_RETURN(backend, MakeBackend(options.backend, [&bar](float done) { bar.Update(done); }));
  }
  report->backend = backend->ops->Description();
  if (options.generate_tokens > 0) {
    ASSIGN_OR_RETURN(report->cache, CompareWithRecomputation(*backend, options.offline.input_lengths.front(),
                                                             options.generate_tokens));
    return absl::OkStatus();
  }
  if (!options.perplexity_file.empty()) {
    ASSIGN_OR_RETURN(const std::string text, ReadFile(options.perplexity_file));
    ProgressBar bar("reading");
    ASSIGN_OR_RETURN(report->perplexity, MeasurePerplexity(*backend, text, options.offline.input_lengths,
                                                           [&bar](float done) { bar.Update(done); }));
    return absl::OkStatus();
  }
  ProgressBar bar("measuring");
  ASSIGN_OR_RETURN(report->throughput,
                   RunOfflineBench(*backend, options.offline, [&bar](float done) { bar.Update(done); }));
  return absl::OkStatus();
}

absl::Status BenchServer(const BenchOptions& options, BenchReport* report) {
  ProgressBar bar("requests");
  ASSIGN_OR_RETURN(report->load, RunLoadBench(options.load, [&bar](float done) { bar.Update(done); }));
  return absl::OkStatus();
}

int RunBench(const BenchOptions& options) {
  BenchReport report;
  report.processor = ProcessorName();
  const bool many_batches = !options.backend.model_path.empty() && options.generate_tokens == 0;
  absl::Status status;
  if (options.offline.input_lengths.size() > 1 && !many_batches) {
    status = absl::InvalidArgumentError("--input-len: only the engine's throughput is measured at several lengths");
  } else {
    status = options.backend.model_path.empty() ? BenchServer(options, &report) : BenchEngine(options, &report);
  }
  if (!status.ok()) {
    std::fprintf(stderr, "error: %s\n", std::string(status.message()).c_str());
    return 1;
  }
  std::fputs((options.json ? ToJson(report) : ToTable(report)).c_str(), stdout);
  return report.load && report.load->failed > 0 ? 1 : 0;
}

void AddOfflineOptions(CLI::App& command, BenchOptions& options) {
  CLI::App* const group = command.add_option_group("Engine (offline)");
  group->add_option("--batch-sizes", options.offline.batch_sizes, "Sequences at once")
      ->delimiter(',')
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  group->add_flag(
      "--steady-decode", options.offline.steady_decode,
      "Measure decode over --output-len steps once every sequence runs, instead of as the difference of two "
      "runs; for long prompts");
  AddBackendFlags(*group, options.backend);
  group
      ->add_option("--generate", options.generate_tokens,
                   "Instead: time one generation of this many tokens, KV cached against recomputed")
      ->check(CLI::Range(1, 1 << 20));
  group->add_option("--perplexity", options.perplexity_file,
                    "Instead: how well the model foretells this text, read in windows of --input-len tokens");
}

void AddServerOptions(CLI::App& command, BenchOptions& options) {
  CLI::App* const group = command.add_option_group("Running server");
  group->add_option("--target", options.load.target, "host:port")->capture_default_str();
  group->add_option("--clients", options.load.clients, "Clients at once, each with one request in flight")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  group->add_option("--requests", options.load.requests_per_client, "Requests a client")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  group->add_option("--shared-prefix", options.load.prefix_tokens, "Tokens that all prompts begin with")
      ->check(CLI::Range(0, 1 << 20))
      ->capture_default_str();
}

}  // namespace

void AddBenchCommand(CLI::App& app, int* exit_code) {
  auto options = std::make_shared<BenchOptions>();
  CLI::App* command =
      app.add_subcommand("bench", "Measure the engine (with --model), or a running server (with --target or nothing)");
  command->add_option("--model", options->backend.model_path, "Model file: measure the engine in this process");
  command->add_option("--input-len", options->offline.input_lengths, "Prompt tokens; several for the engine alone")
      ->delimiter(',')
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  command->add_option("--output-len", options->offline.output_tokens, "New tokens")
      ->check(CLI::Range(2, 1 << 20))
      ->capture_default_str();
  command->add_option("--seed", options->offline.seed, "Of the random prompts")->capture_default_str();
  command->add_flag("--json", options->json, "For machines");
  AddOfflineOptions(*command, *options);
  AddServerOptions(*command, *options);
  command->callback([options, exit_code] {
    options->load.input_tokens = options->offline.input_lengths.front();
    options->load.output_tokens = options->offline.output_tokens;
    options->load.seed = options->offline.seed;
    *exit_code = RunBench(*options);
  });
}

}  // namespace quire
