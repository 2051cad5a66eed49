#include "server/cli/bench_serve.h"

#include <cmath>
#include <cstdio>
#include <fstream>
#include <limits>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "engine/types/status_macros.h"
#include "server/bench/load/html_report.h"
#include "server/bench/load/load_report.h"
#include "server/bench/load_bench.h"
#include "server/cli/progress_bar.h"

namespace quire {
namespace {

constexpr int kDefaultClients = 16;
constexpr int kMaxTokens = 1 << 20;

// The values of flags that choose, by the names that they have on the command line.
template <typename T>
using Choices = std::map<std::string, T>;
const Choices<TransportOptions::Endpoint> kEndpoints = {{"completions", TransportOptions::Endpoint::kCompletions},
                                                        {"chat", TransportOptions::Endpoint::kChat}};
const Choices<WorkloadOptions::Kind> kDatasets = {{"random", WorkloadOptions::Kind::kRandom},
                                                  {"sharegpt", WorkloadOptions::Kind::kShareGpt},
                                                  {"mooncake", WorkloadOptions::Kind::kMooncake}};
const Choices<ArrivalOptions::Ramp> kRamps = {{"none", ArrivalOptions::Ramp::kNone},
                                              {"linear", ArrivalOptions::Ramp::kLinear},
                                              {"exponential", ArrivalOptions::Ramp::kExponential}};

// Flags as they are given; ToLoadBench turns them into options.
struct ServeFlags {
  LoadBenchOptions load;
  std::string endpoint = "completions";
  std::string dataset = "random";
  std::string ramp = "none";
  std::string prompt_form;
  std::string input_len = "128";
  std::string output_len;
  std::optional<int> max_concurrency;
  std::vector<std::string> headers;
  double timeout_s = 600;
  double think_ms = 0;
  double trace_speed = 1;
  std::vector<std::string> goodput;
  bool json = false;
  bool detailed = false;
  std::string html_path;
  std::string json_path;
};

// "128", or "64:256" for lengths from one to the other.
absl::StatusOr<LengthRange> ParseLengths(const std::string& flag, const std::string& text) {
  const size_t colon = text.find(':');
  LengthRange range;
  const bool numbers = absl::SimpleAtoi(text.substr(0, colon), &range.min) &&
                       absl::SimpleAtoi(colon == std::string::npos ? text : text.substr(colon + 1), &range.max);
  if (!numbers || range.min < 1 || range.max < range.min || range.max > kMaxTokens) {
    return absl::InvalidArgumentError(
        absl::StrCat(flag, " must be TOKENS or FROM:TO, from 1 to ", kMaxTokens, ", got \"", text, "\""));
  }
  return range;
}

absl::Status ParseHeaders(const std::vector<std::string>& headers, TransportOptions* transport) {
  for (const std::string& header : headers) {
    const size_t colon = header.find(':');
    const size_t value = header.find_first_not_of(' ', std::min(colon, header.size() - 1) + 1);
    if (colon == std::string::npos || colon == 0 || value == std::string::npos) {
      return absl::InvalidArgumentError(absl::StrCat("--header must be NAME:VALUE, got \"", header, "\""));
    }
    transport->headers.emplace_back(header.substr(0, colon), header.substr(value));
  }
  return absl::OkStatus();
}

absl::StatusOr<LoadBenchOptions> ToLoadBench(const ServeFlags& flags) {
  LoadBenchOptions load = flags.load;
  load.transport.endpoint = kEndpoints.at(flags.endpoint);
  load.workload.kind = kDatasets.at(flags.dataset);
  load.arrivals.ramp = kRamps.at(flags.ramp);
  // Token ids give prompts of exact lengths, but only gRPC tells how many there are to choose from.
  const bool token_ids = flags.prompt_form.empty()
                             ? load.transport.url.empty() && load.workload.path.empty() &&
                                   load.transport.endpoint == TransportOptions::Endpoint::kCompletions
                             : flags.prompt_form == "tokens";
  load.transport.prompt_form = token_ids ? PromptForm::kTokenIds : PromptForm::kText;
  load.transport.timeout = std::chrono::milliseconds(static_cast<int64_t>(flags.timeout_s * 1e3));
  RETURN_IF_ERROR(ParseHeaders(flags.headers, &load.transport));
  ASSIGN_OR_RETURN(load.workload.input_tokens, ParseLengths("--input-len", flags.input_len));
  if (!flags.output_len.empty()) {
    ASSIGN_OR_RETURN(load.workload.output_tokens, ParseLengths("--output-len", flags.output_len));
  }
  load.workload.time_scale = 1 / flags.trace_speed;
  load.arrivals.seed = load.workload.seed;
  const bool has_times = std::isfinite(load.arrivals.rate) || load.workload.kind == WorkloadOptions::Kind::kMooncake;
  load.max_concurrency = flags.max_concurrency.value_or(has_times ? 0 : kDefaultClients);
  load.think_s = flags.think_ms / 1e3;
  ASSIGN_OR_RETURN(load.goodput, ParseGoodputLimits(flags.goodput));
  return load;
}

// What the command was told, flag by flag.
std::vector<std::pair<std::string, std::string>> SettingsOf(const CLI::App& command) {
  std::vector<std::pair<std::string, std::string>> settings;
  for (const CLI::Option* option : command.get_options()) {
    // Headers may be secrets.
    if (option->count() == 0 || option->check_name("--header")) continue;
    std::string values;
    for (const std::string& value : option->results()) absl::StrAppend(&values, values.empty() ? "" : " ", value);
    settings.emplace_back(option->get_name(), values);
  }
  return settings;
}

absl::Status WriteFile(const std::string& flag, const std::string& path, const std::string& contents) {
  std::ofstream file(path, std::ios::binary);
  file << contents << std::flush;
  if (!file) return absl::NotFoundError(absl::StrCat(flag, ": cannot write ", path));
  return absl::OkStatus();
}

absl::Status Publish(const ServeFlags& flags, const LoadReport& report) {
  const std::string json =
      ToJson(report, flags.detailed).dump(2, ' ', /*ensure_ascii=*/false, nlohmann::json::error_handler_t::replace) +
      "\n";
  std::fputs(flags.json ? json.c_str() : ToTable(report).c_str(), stdout);
  if (!flags.json_path.empty()) RETURN_IF_ERROR(WriteFile("--save-result", flags.json_path, json));
  if (!flags.html_path.empty()) RETURN_IF_ERROR(WriteFile("--html", flags.html_path, ToHtml(report)));
  return absl::OkStatus();
}

absl::StatusOr<LoadReport> Measure(const ServeFlags& flags) {
  ASSIGN_OR_RETURN(const LoadBenchOptions options, ToLoadBench(flags));
  ProgressBar bar("requests");
  return RunLoadBench(options, [&bar](float done) { bar.Update(done); });
}

int RunBenchServe(const ServeFlags& flags, const CLI::App& command) {
  absl::StatusOr<LoadReport> report = Measure(flags);
  absl::Status status = report.status();
  if (status.ok()) {
    report->settings = SettingsOf(command);
    status = Publish(flags, *report);
  }
  if (!status.ok()) {
    std::fprintf(stderr, "error: %s\n", std::string(status.message()).c_str());
    return 1;
  }
  return report->result.failed > 0 ? 1 : 0;
}

void AddServerFlags(CLI::App& command, ServeFlags& flags) {
  TransportOptions& transport = flags.load.transport;
  transport.target = "127.0.0.1:50051";
  command.add_option("--target", transport.target, "host:port of a server that speaks quire.v1 over gRPC")
      ->capture_default_str();
  command.add_option("--url", transport.url, "Instead: http://host:port of any OpenAI-compatible server")
      ->excludes("--target");
  command.add_option("--endpoint", flags.endpoint, "What is asked for")
      ->check(CLI::IsMember(kEndpoints))
      ->capture_default_str();
  command.add_option("--model", transport.model, "Its name in requests [the first that the server lists]");
  command
      .add_option("--prompt-form", flags.prompt_form,
                  "tokens: random ids; text: common words, about one token each [tokens for completions over gRPC]")
      ->check(CLI::IsMember({"tokens", "text"}));
  command.add_option("--header", flags.headers, "NAME:VALUE to send along over HTTP; may be repeated");
  command.add_flag("--ignore-eos,!--no-ignore-eos", transport.ignore_eos,
                   "Ask for answers of exactly the length wanted (default); a server of OpenAI's own refuses that");
  command.add_option("--timeout", flags.timeout_s, "Seconds for each request")
      ->check(CLI::Range(0.001, 1e6))
      ->capture_default_str();
}

void AddWorkloadFlags(CLI::App& command, ServeFlags& flags) {
  WorkloadOptions& workload = flags.load.workload;
  command.add_option("--dataset-name", flags.dataset, "What is sent; mooncake: a trace with times and shared blocks")
      ->check(CLI::IsMember(kDatasets))
      ->capture_default_str();
  command.add_option("--dataset-path", workload.path,
                     "ShareGPT's JSON, or Mooncake's JSON lines [sharegpt: random conversations of such lengths]");
  command.add_option("--num-prompts", workload.num_conversations, "Conversations at most [64, or all of a file]")
      ->check(CLI::Range(1, 1 << 24));
  command
      .add_option("--input-len", flags.input_len, "Prompt tokens of random turns: TOKENS, or FROM:TO for any between")
      ->capture_default_str();
  command.add_option("--output-len", flags.output_len, "New tokens, likewise [48, or as the file says]");
  command.add_option("--shared-prefix", workload.prefix_tokens, "Tokens that conversations begin with in common")
      ->check(CLI::Range(0, kMaxTokens))
      ->capture_default_str();
  command.add_option("--num-prefixes", workload.num_prefixes, "How many such beginnings there are to choose from")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  command.add_option("--turns", workload.turns, "Turns of a conversation, each behind all that was said before")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  command.add_option("--think-time", flags.think_ms, "Milliseconds from an answer to the next turn")
      ->check(CLI::Range(0.0, 1e9))
      ->capture_default_str();
  command.add_option("--length-scale", workload.length_scale, "Multiplies all lengths of a trace")
      ->check(CLI::Range(0.001, 1000.0))
      ->capture_default_str();
  command.add_option("--trace-speed", flags.trace_speed, "Plays a trace so many times as fast as it was recorded")
      ->check(CLI::Range(0.001, 1e6))
      ->capture_default_str();
  command.add_option("--seed", workload.seed, "Of prompts, lengths and arrivals")->capture_default_str();
}

void AddArrivalFlags(CLI::App& command, ServeFlags& flags) {
  ArrivalOptions& arrivals = flags.load.arrivals;
  command
      .add_option("--request-rate", arrivals.rate,
                  "Conversations that begin each second, whether or not the server keeps up; inf: a closed loop")
      ->check(CLI::Range(1e-6, std::numeric_limits<double>::infinity()))
      ->capture_default_str();
  command
      .add_option("--burstiness", arrivals.burstiness,
                  "Shape of the gamma-distributed intervals; 1: Poisson, less: bursts, more: even")
      ->check(CLI::Range(1e-3, 1e6))
      ->capture_default_str();
  command
      .add_option("--max-concurrency", flags.max_concurrency,
                  "Conversations in progress at once; without a rate, clients of a closed loop; 0: no limit [16 "
                  "without a rate, else 0]")
      ->check(CLI::Range(0, 1 << 20));
  command.add_option("--ramp-up-strategy", flags.ramp, "How the rate rises to --request-rate")
      ->check(CLI::IsMember(kRamps))
      ->capture_default_str();
  command.add_option("--ramp-up-start-rps", arrivals.start_rate, "The rate that a ramp begins with")
      ->check(CLI::Range(1e-6, 1e6))
      ->needs("--ramp-up-strategy")
      ->capture_default_str();
  command.add_option("--warmup", flags.load.warmup_conversations, "Conversations to send before, and not to count")
      ->check(CLI::Range(0, 1 << 20))
      ->capture_default_str();
}

void AddReportFlags(CLI::App& command, ServeFlags& flags) {
  command.add_option("--goodput", flags.goodput, "Limits that make a request good: ttft:MS tpot:MS e2el:MS")
      ->delimiter(',');
  command.add_flag("--json", flags.json, "Print JSON with the keys of `vllm bench serve`");
  command.add_option("--save-result", flags.json_path, "Write that JSON to a file");
  command.add_flag("--save-detailed", flags.detailed, "With every request's figures in it");
  command.add_option("--html", flags.html_path, "Write a page with charts to a file");
}

}  // namespace

void AddBenchServeCommand(CLI::App& bench, int* exit_code) {
  auto flags = std::make_shared<ServeFlags>();
  CLI::App* command = bench.add_subcommand("serve", "Load on a running server, over gRPC or HTTP");
  AddServerFlags(*command, *flags);
  AddWorkloadFlags(*command, *flags);
  AddArrivalFlags(*command, *flags);
  AddReportFlags(*command, *flags);
  command->callback([flags, command, exit_code] { *exit_code = RunBenchServe(*flags, *command); });
}

}  // namespace quire
