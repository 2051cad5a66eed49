#include "server/cli/plan.h"

#include <algorithm>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/loader/checkpoint.h"
#include "engine/model/model_registry.h"
#include "engine/types/annotate.h"
#include "engine/types/status_macros.h"
#include "server/available_memory.h"
#include "server/backend.h"
#include "server/cli/backend_flags.h"

namespace quire {
namespace {

absl::StatusOr<int64_t> WeightBytes(const Checkpoint& checkpoint) {
  int64_t bytes = 0;
  for (const std::string& name : checkpoint.TensorNames()) {
    ASSIGN_OR_RETURN(const RawMatrix tensor, checkpoint.GetTensor(name));
    bytes += static_cast<int64_t>(tensor.bytes.size());
  }
  return bytes;
}

std::string InMebibytes(int64_t bytes) { return absl::StrFormat("%.1f MiB", static_cast<double>(bytes) / (1 << 20)); }

std::string ToText(const MemoryPlan& plan) {
  std::string out = absl::StrFormat("%d sequences of %d tokens\n", plan.concurrency, plan.context);
  absl::StrAppend(
      &out, absl::StrFormat("  %-22s %12s\n", "weights", InMebibytes(plan.weight_bytes)),
      absl::StrFormat("  %-22s %12d bytes\n", "KV a token", plan.kv_bytes_per_token),
      absl::StrFormat("  %-22s %12d   %d a sequence\n", "pages", plan.pages, plan.pages_per_sequence),
      absl::StrFormat("  %-22s %12s   --kv-cache-memory %d\n", "page pool", InMebibytes(plan.kv_bytes), plan.kv_bytes),
      absl::StrFormat("  %-22s %12s\n", "together", InMebibytes(plan.weight_bytes + plan.kv_bytes)),
      absl::StrFormat("  %-22s %12s, enough for %d such sequences\n", "this machine has free",
                      InMebibytes(plan.available_bytes), plan.sequences_that_fit));
  return out;
}

std::string ToJson(const MemoryPlan& plan) {
  const nlohmann::json out = {{"context", plan.context},
                              {"concurrency", plan.concurrency},
                              {"weight_bytes", plan.weight_bytes},
                              {"kv_bytes_per_token", plan.kv_bytes_per_token},
                              {"pages_per_sequence", plan.pages_per_sequence},
                              {"pages", plan.pages},
                              {"kv_bytes", plan.kv_bytes},
                              {"available_bytes", plan.available_bytes},
                              {"sequences_that_fit", plan.sequences_that_fit}};
  return out.dump(2) + "\n";
}

}  // namespace

absl::StatusOr<MemoryPlan> PlanFor(const ModelConfig& config, int64_t weight_bytes, int64_t available_bytes,
                                   const PlanOptions& options) {
  if (!options.kv_policy.sink_window && options.context > config.context_length) {
    return absl::InvalidArgumentError(
        absl::StrCat("--context must be at most the model's ", config.context_length, ", got ", options.context));
  }
  ASSIGN_OR_RETURN(const KvWindow window, MakeKvWindow(options.kv_policy, config, options.block_size));
  MemoryPlan plan;
  plan.context = options.context > 0 ? options.context : config.context_length;
  plan.concurrency = options.concurrency;
  plan.weight_bytes = weight_bytes;
  plan.available_bytes = available_bytes;
  const KvLayout layout = MakeKvLayout(config, options.block_size, options.kv_dtypes);
  const int kept = window.bounded() ? std::min(plan.context, window.capacity()) : plan.context;
  plan.kv_bytes_per_token = layout.BytesPerToken();
  plan.pages_per_sequence = (kept + options.block_size - 1) / options.block_size;
  plan.pages = plan.pages_per_sequence * plan.concurrency;
  plan.kv_bytes = plan.pages * layout.BytesPerPage();
  const int64_t sequence_bytes = plan.pages_per_sequence * layout.BytesPerPage();
  plan.sequences_that_fit = std::max<int64_t>(0, available_bytes - weight_bytes) / sequence_bytes;
  return plan;
}

absl::StatusOr<MemoryPlan> MakePlan(const PlanOptions& options) {
  absl::StatusOr<std::unique_ptr<Checkpoint>> opened = OpenCheckpoint(options.model_path);
  if (!opened.ok()) return Annotate(opened.status(), options.model_path);
  const std::unique_ptr<Checkpoint> checkpoint = *std::move(opened);
  ASSIGN_OR_RETURN(const std::string name, checkpoint->GetString("general.architecture"));
  ASSIGN_OR_RETURN(const ModelArchitecture* architecture, FindArchitecture(name));
  ASSIGN_OR_RETURN(const ModelConfig config, architecture->read_config(*checkpoint));
  RETURN_IF_ERROR(Validate(config));
  ASSIGN_OR_RETURN(const int64_t weight_bytes, WeightBytes(*checkpoint));
  return PlanFor(config, weight_bytes, AvailableMemory(), options);
}

void AddPlanCommand(CLI::App& app, int* exit_code) {
  struct Arguments {
    PlanOptions plan;
    bool json = false;
  };
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand("plan", "What a model, a context length and a concurrency need");
  command->add_option("MODEL", arguments->plan.model_path, "Model file (GGUF)")->required();
  command->add_option("--context", arguments->plan.context, "Tokens of one sequence; 0: the model's length")
      ->check(CLI::Range(0, 1 << 28))
      ->capture_default_str();
  command->add_option("--concurrency", arguments->plan.concurrency, "Sequences at once")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  command->add_option("--block-size", arguments->plan.block_size, "Tokens a KV page")
      ->check(CLI::IsMember({16, 32, 64, 128}))
      ->capture_default_str();
  AddKvDTypeFlags(*command, arguments->plan.kv_dtypes);
  AddKvPolicyFlags(*command, arguments->plan.kv_policy);
  command->add_flag("--json", arguments->json, "For machines");
  command->callback([arguments, exit_code] {
    const absl::StatusOr<MemoryPlan> plan = MakePlan(arguments->plan);
    if (!plan.ok()) {
      std::fprintf(stderr, "error: %s\n", std::string(plan.status().message()).c_str());
      *exit_code = 1;
      return;
    }
    std::fputs((arguments->json ? ToJson(*plan) : ToText(*plan)).c_str(), stdout);
  });
}

}  // namespace quire
