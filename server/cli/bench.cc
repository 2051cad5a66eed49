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
#include "server/cli/bench_serve.h"
#include "server/cli/progress_bar.h"

namespace quire {
namespace {

struct BenchOptions {
  BackendOptions backend;
  OfflineBenchOptions offline;
  std::string target = "127.0.0.1:50051";
  int clients = 16;
  int requests_per_client = 4;
  int prefix_tokens = 0;
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
  report->backend = backend->Description();
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

// A closed loop with random prompts; `quire bench serve` has the rest.
absl::Status BenchServer(const BenchOptions& options, BenchReport* report) {
  LoadBenchOptions load;
  load.transport.target = options.target;
  load.transport.prompt_form = PromptForm::kTokenIds;
  const int input_tokens = options.offline.input_lengths.front();
  load.workload.input_tokens = {input_tokens, input_tokens};
  load.workload.output_tokens = {options.offline.output_tokens, options.offline.output_tokens};
  load.workload.prefix_tokens = options.prefix_tokens;
  load.workload.num_conversations = options.clients * options.requests_per_client;
  load.workload.seed = options.offline.seed;
  load.max_concurrency = options.clients;
  ProgressBar bar("requests");
  ASSIGN_OR_RETURN(report->load, RunLoadBench(load, [&bar](float done) { bar.Update(done); }));
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
  return report.load && report.load->result.failed > 0 ? 1 : 0;
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
  group->add_option("--target", options.target, "host:port")->capture_default_str();
  group->add_option("--clients", options.clients, "Clients at once, each with one request in flight")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  group->add_option("--requests", options.requests_per_client, "Requests a client")
      ->check(CLI::Range(1, 1 << 16))
      ->capture_default_str();
  group->add_option("--shared-prefix", options.prefix_tokens, "Tokens that all prompts begin with")
      ->check(CLI::Range(0, 1 << 20))
      ->capture_default_str();
}

}  // namespace

void AddBenchCommand(CLI::App& app, int* exit_code) {
  auto options = std::make_shared<BenchOptions>();
  CLI::App* command =
      app.add_subcommand("bench", "Measure the engine (with --model), or a running server (with --target or nothing); `bench serve` has more");
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
  AddBenchServeCommand(*command, exit_code);
  command->callback([command, options, exit_code] {
    if (command->get_subcommands().empty()) *exit_code = RunBench(*options);
  });
}

}  // namespace quire
