#include "tests/sim/simulation.h"

#include <algorithm>
#include <map>
#include <optional>

#include "absl/strings/str_cat.h"
#include "engine/engine.h"
#include "tests/block_manager/page_mirror.h"
#include "tests/fakes/fake_model_runner.h"
#include "tests/sim/fairness_checker.h"
#include "tests/sim/lease_holder.h"
#include "tests/sim/sim_config.h"
#include "tests/sim/sim_random.h"
#include "tests/sim/sim_tiers.h"
#include "tests/sim/stream_checker.h"
#include "tests/sim/workload.h"

namespace quire {
namespace {

class Simulation {
 public:
  explicit Simulation(uint64_t seed)
      : random_(seed),
        config_(DrawConfig(random_)),
        workload_(config_, random_),
        model_(config_.engine.vocab_size, config_.engine.eos_token_ids, config_.engine.kv_window),
        checker_(config_, model_) {
    StartEngine();
  }

  SimulationReport Run();

 private:
  EngineOptions WithClock(EngineOptions options) {
    options.clock = [this] { return now_ + step_takes_; };
    return options;
  }

  void Fail(const std::string& what) {
    if (report_.failure.empty()) report_.failure = what;
  }
  bool Happens(int percent) { return percent > 0 && random_.Chance(percent); }

  void StartEngine();
  void Restart();
  void NoteTotals();
  void Arrive();
  void SubmitGood(bool floods = false);
  void Submit(const GenerateRequest& request);
  void Flood();
  void SubmitBad();
  void Disturb();
  std::optional<GenerateRequest> DrawComing();
  void Step(const std::optional<GenerateRequest>& coming = std::nullopt);
  void CheckCounts();
  void CheckPageEvents();
  void CheckProgress(const StepOutput& step);
  void CheckWaste();
  void Trace(const StepOutput& step);
  bool IsPoisoned(const LogitRow& row) const;

  SimRandom random_;
  const SimConfig config_;
  Workload workload_;
  FakeModel model_;
  absl::Time now_ = absl::FromUnixSeconds(1'700'000'000);
  absl::Duration step_takes_;
  std::optional<SimTiers> tiers_;
  std::optional<FakeModelRunner> runner_;
  std::optional<Engine> engine_;
  StreamChecker checker_;
  std::optional<LeaseHolder> leases_;  // Of the engine that runs.
  std::optional<FairnessChecker> fairness_;
  int num_requests_ = 0;
  int num_flood_steps_ = 0;
  int steps_without_output_ = 0;
  int64_t num_scheduled_tokens_ = 0;
  int64_t num_useful_tokens_ =
      0;  // Prompts and outputs: what would be computed if nothing were computed twice or cached.
  std::map<uint64_t, int> poisoned_positions_;  // By the sample's seed.
  std::optional<PageMirror> mirror_;
  SimulationReport report_;
};

void Simulation::StartEngine() {
  const BlockManagerOptions& blocks = config_.engine.blocks;
  engine_.reset();
  runner_.emplace(model_, blocks.num_blocks, blocks.block_size);
  runner_->TellTenantsApart(TenantOf);
  runner_->PoisonRows([this](const LogitRow& row) { return IsPoisoned(row); });
  runner_->SlowTransfersDown(config_.transfer_period);
  if (config_.runs_at_launch) runner_->RunAtLaunch();
  if (!tiers_) tiers_.emplace(config_, runner_->page_bytes(), random_);
  engine_.emplace(WithClock(config_.engine), *runner_, tiers_->Start(*runner_));
  leases_.emplace(config_, random_, workload_, *engine_);
  fairness_.emplace(config_);
}

// What lives is ended first, so that it is known how.
void Simulation::Restart() {
  for (RequestId id : std::vector<RequestId>(checker_.live())) {
    if (engine_->Cancel(id)) checker_.ExpectCancelled(id);
  }
  Step();
  if (!report_.failure.empty()) return;
  NoteTotals();
  ++report_.num_restarts;
  mirror_.reset();
  StartEngine();
}

// Of an engine that is given up.
void Simulation::NoteTotals() {
  const EngineStats stats = engine_->stats();
  report_.num_preemptions += static_cast<int64_t>(stats.preemptions_total);
  report_.num_steps_given_up += static_cast<int64_t>(stats.steps_given_up_total);
  report_.num_steps_ahead += static_cast<int64_t>(stats.steps_ahead_total);
  report_.num_leases += leases_->num_taken();
  report_.num_leases_shortened += leases_->num_shortened();
  report_.num_fetched_pages += static_cast<int64_t>(stats.host_tier.pages_read + stats.disk_tier.pages_read);
  report_.num_refused_pages += static_cast<int64_t>(stats.host_tier.pages_refused + stats.disk_tier.pages_refused);
}

SimulationReport Simulation::Run() {
  while (report_.failure.empty() && (num_requests_ < config_.num_requests || engine_->HasWork())) {
    Arrive();
    Disturb();
    const std::optional<GenerateRequest> coming = DrawComing();
    Step(coming);
    if (coming) Submit(*coming);
    if (report_.failure.empty() && Happens(config_.percent_restart)) Restart();
  }
  if (report_.failure.empty() && !checker_.live().empty()) Fail("requests are left that got no last output");
  leases_->EndAll(now_);
  if (report_.failure.empty() && engine_->stats().blocks.used != 0) Fail("pages are held and nobody is there");
  report_.num_cached_tokens = checker_.num_cached_tokens();
  NoteTotals();
  CheckWaste();
  if (!report_.failure.empty()) {
    report_.failure = absl::StrCat("step ", report_.num_steps, ": ", report_.failure, " (", ToString(config_), ")");
  }
  return report_;
}

void Simulation::Arrive() {
  int percent = config_.arrivals_per_step;
  for (; percent > 0 && num_requests_ < config_.num_requests; percent -= 100) {
    if (random_.Chance(std::min(percent, 100))) SubmitGood();
  }
  if (num_requests_ >= config_.num_requests && config_.endless_flood) Flood();
  if (Happens(config_.percent_bad_request)) SubmitBad();
}

// Liveness: whatever one tenant asks for, what the others have asked for gets done.
void Simulation::Flood() {
  constexpr int kWaiting = 6;
  const std::vector<RequestId>& live = checker_.live();
  const auto others = [this](RequestId id) { return checker_.tenant(id) != 0; };
  if (std::none_of(live.begin(), live.end(), others)) return;
  if (engine_->stats().requests_waiting < std::min(kWaiting, config_.engine.max_waiting_requests)) SubmitGood(true);
  const EngineOptions& engine = config_.engine;
  const KvWindow& window = engine.kv_window;
  int steps_a_token = window.bounded() ? 1 + window.sink_tokens / window.stride_tokens : 1;
  if (engine.recompute_always) steps_a_token = engine.max_model_len;
  const int work = 2 * config_.num_requests * config_.max_samples * engine.max_model_len * steps_a_token;
  if (++num_flood_steps_ > work) Fail("a tenant starves while another floods");
}

void Simulation::SubmitGood(bool floods) {
  Submit(workload_.MakeRequest(static_cast<RequestId>(num_requests_++), now_, floods));
}

void Simulation::Submit(const GenerateRequest& request) {
  const absl::Status status = engine_->Submit(request, now_);
  if (status.ok()) {
    checker_.Expect(request);
    if (Happens(config_.percent_poisoned)) {
      const int first = static_cast<int>(request.prompt.size());
      const int index = random_.Between(0, request.sampling.n - 1);
      poisoned_positions_[SampleSeed(request.sampling.seed, index)] =
          random_.Between(std::max(1, first - 3), first + 5);
      checker_.ExpectPoisoned(request.id);
    }
    return;
  }
  // The workload's are near, and steps may have been slow.
  if (absl::IsDeadlineExceeded(status) && request.deadline != absl::InfiniteFuture()) return;
  const bool may_be_full =
      config_.engine.max_waiting_requests <= 8 || config_.engine.max_waiting_tokens <= 2 * config_.engine.max_model_len;
  const bool anyone_waits = config_.max_samples > 1 || engine_->stats().requests_waiting > 0;
  if (status.code() != absl::StatusCode::kResourceExhausted || !may_be_full || !anyone_waits) {
    Fail(absl::StrCat("a request was refused: ", status.ToString()));
  }
}

void Simulation::SubmitBad() {
  const RequestId id = 1'000'000;
  const absl::Status status = engine_->Submit(workload_.MakeBadRequest(id, now_), now_);
  if (status.code() != absl::StatusCode::kInvalidArgument) Fail("a bad request was answered with " + status.ToString());
}

bool Simulation::IsPoisoned(const LogitRow& row) const {
  const auto found = poisoned_positions_.find(row.seed);
  return found != poisoned_positions_.end() && found->second == row.position;
}

void Simulation::Disturb() {
  if (Happens(config_.percent_clear_cache)) {
    engine_->ClearPrefixCache();
    leases_->CacheWasCleared();
  }
  const std::vector<RequestId>& live = checker_.live();
  const auto any_request = [&] { return live[random_.Between(0, static_cast<int>(live.size()) - 1)]; };
  if (!live.empty() && Happens(config_.percent_cancel)) {
    const RequestId id = any_request();
    // One whose end is on its way already cannot be cancelled.
    if (engine_->Cancel(id)) checker_.ExpectCancelled(id);
  }
  if (!live.empty() && Happens(config_.percent_finish_sample)) {
    const RequestId id = any_request();
    for (int index : checker_.OpenSamples(id)) {
      if (random_.Chance(50) && engine_->FinishSample(id, index)) checker_.ExpectFinished(id, index);
    }
  }
  if (Happens(config_.percent_clock_jump)) now_ += absl::Minutes(random_.Between(-60, 60));
  if (Happens(config_.percent_disturb_leases)) leases_->Disturb(now_);
}

// A request that comes while the next step computes, for which that may be given up.
std::optional<GenerateRequest> Simulation::DrawComing() {
  if (num_requests_ >= config_.num_requests || !Happens(config_.percent_come_within_step)) return std::nullopt;
  return workload_.MakeRequest(static_cast<RequestId>(num_requests_++), now_);
}

void Simulation::Step(const std::optional<GenerateRequest>& coming) {
  ++report_.num_steps;
  step_takes_ = absl::Milliseconds(random_.Chance(2) ? 1000 : random_.Between(0, 10));
  if (Happens(config_.percent_step_failure)) {
    runner_->FailNextStep(absl::UnavailableError("planned"));
    checker_.ExpectStepFailure();
  }
  if (tiers_->any()) tiers_->Step();
  const StepOutput step = engine_->Step(now_, [&] { return coming && engine_->GivesWayTo(coming->tenant); });
  engine_->CheckInvariants();
  if (!runner_->violation().empty()) return Fail(runner_->violation());
  checker_.CheckStep(step, now_);
  if (!checker_.failure().empty()) return Fail(checker_.failure());
  fairness_->Check(engine_->scheduler());
  if (!fairness_->failure().empty()) return Fail(fairness_->failure());
  num_scheduled_tokens_ += step.num_scheduled_tokens;
  Trace(step);
  CheckCounts();
  CheckPageEvents();
  CheckProgress(step);
  for (const SequenceOutput& output : step.outputs) {
    if (output.lease) leases_->Take(output, checker_.Conversation(output.request, 0));
  }
  leases_->Check(now_);
  if (!leases_->failure().empty()) return Fail(leases_->failure());
  for (const SequenceOutput& output : step.outputs) {
    fairness_->Count(checker_.tenant(output.request), output);
    report_.num_tokens += static_cast<int64_t>(output.tokens.size());
    if (!output.last) continue;
    num_useful_tokens_ += output.usage.prompt_tokens + output.usage.completion_tokens;
    workload_.Remember(checker_.Conversation(output.request, output.index));
  }
  now_ += step_takes_;
}

void Simulation::CheckCounts() {
  const EngineStats stats = engine_->stats();
  if (stats.blocks.free + stats.blocks.used + stats.blocks.cached != stats.blocks.total) Fail("pages do not add up");
  if (stats.blocks.total != config_.engine.blocks.num_blocks) Fail("the pool changed its size");
  if (stats.requests_running + stats.requests_waiting != static_cast<int64_t>(checker_.live().size())) {
    Fail("requests running and waiting are not those alive");
  }
  if (stats.requests_running > config_.engine.max_num_seqs) Fail("more requests run than there are seats");
  // Those preempted come on top of the bound.
  if (stats.requests_waiting > config_.engine.max_waiting_requests + config_.engine.max_num_seqs)
    Fail("the queue is too long");
}

// A reader of page events knows what can be shared, from the step on that it came at.
void Simulation::CheckPageEvents() {
  if (report_.num_steps < config_.page_events_from) return;
  if (!mirror_) {
    mirror_.emplace(engine_->SharedPages());
    engine_->RecordPageEvents();
  }
  mirror_->Apply(engine_->TakePageEvents());
  if (!mirror_->error().empty()) return Fail(mirror_->error());
  if (*mirror_ != PageMirror(engine_->SharedPages())) Fail("page events do not tell which pages can be shared");
}

// The first of all requests gets a token within as many steps as its prompt has tokens, and nobody is preempted without
// need.
void Simulation::CheckProgress(const StepOutput& step) {
  steps_without_output_ = step.outputs.empty() && engine_->HasWork() ? steps_without_output_ + 1 : 0;
  // A sequence may wait for a fetch of each of its pages, and lose what it has to other tenants' so many times.
  const int patience = (tiers_->any() ? 10 : 1) * (config_.num_tenants > 1 ? 1 + Sequence::kMaxPreemptions : 1);
  if (steps_without_output_ > patience * (2 * config_.engine.max_model_len + 16)) Fail("no progress");
}

// Preemption throws work away, but not over and over. Twice the factor of the worst of 30,000 seeds. Sinks are computed
// with every stride.
void Simulation::CheckWaste() {
  if (config_.engine.recompute_always || !report_.failure.empty()) return;
  const KvWindow& window = config_.engine.kv_window;
  const int factor = 5 * (window.bounded() ? 2 + window.sink_tokens / window.stride_tokens : 1);
  if (num_scheduled_tokens_ > factor * num_useful_tokens_) Fail("most of the work was done in vain");
  if (report_.num_preemptions > num_useful_tokens_) Fail("more preemptions than tokens");
}

void Simulation::Trace(const StepOutput& step) {
  const auto add = [this](uint64_t value) { report_.trace_hash = SampleSeed(report_.trace_hash ^ value, 1); };
  add(static_cast<uint64_t>(step.num_scheduled_tokens));
  for (const SequenceOutput& output : step.outputs) {
    add(output.request);
    add(static_cast<uint64_t>(output.index));
    for (TokenId token : output.tokens) add(static_cast<uint64_t>(token));
    add(static_cast<uint64_t>(output.finish_reason));
    add(static_cast<uint64_t>(output.status.code()));
    add(static_cast<uint64_t>(output.usage.cached_tokens));
    add(static_cast<uint64_t>(
        absl::ToInt64Nanoseconds(output.timings.queue + output.timings.prefill + output.timings.decode)));
  }
}

}  // namespace

SimulationReport Simulate(uint64_t seed) {
  SimulationReport report = Simulation(seed).Run();
  if (!report.failure.empty()) report.failure = absl::StrCat("seed ", seed, ": ", report.failure);
  return report;
}

}  // namespace quire
