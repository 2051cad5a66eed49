#include "tests/sim/sim_config.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace quire {
namespace {

// A feature is there in some of the seeds only, and then at any strength.
int Sometimes(SimRandom& random, int percent_of_seeds, int most) {
  return random.Chance(percent_of_seeds) ? random.Between(1, most) : 0;
}

// Sequences that outgrow the window, in a pool that holds a few of them.
void BoundWindow(SimRandom& random, EngineOptions& engine) {
  const int page = engine.blocks.block_size;
  const int most = std::min(engine.blocks.num_blocks, std::max(2, engine.max_model_len / page));
  const int recent = random.Between(1, std::max(1, most - 1));
  engine.kv_window.recent_tokens = recent * page;
  engine.kv_window.stride_tokens = random.Between(1, recent) * page;
  engine.kv_window.sink_tokens = std::min(random.Between(0, 2), engine.blocks.num_blocks - recent) * page;
  engine.max_num_batched_tokens += engine.kv_window.sink_tokens;
}

EngineOptions DrawEngine(SimRandom& random) {
  EngineOptions engine;
  engine.vocab_size = random.LogBetween(3, 64);
  if (random.Chance(70)) engine.eos_token_ids.push_back(random.Between(0, engine.vocab_size - 1));
  if (random.Chance(20)) engine.eos_token_ids.push_back(random.Between(0, engine.vocab_size - 1));
  engine.blocks.block_size = random.LogBetween(1, 64);
  // Mostly a pool in which a few sequences fight for every page.
  const int fewest = random.Chance(90) ? std::max(2, 24 / engine.blocks.block_size) : 2;
  engine.blocks.num_blocks = random.Chance(2) ? random.Between(65, 4096) : random.LogBetween(fewest, 64);
  engine.blocks.enable_prefix_caching = random.Chance(85);
  if (random.Chance(20)) engine.blocks.key_bits = random.Between(1, 8);
  const int pool = engine.blocks.num_blocks * engine.blocks.block_size;
  engine.max_model_len = std::max(2, std::min(random.Between(8, 200), random.Chance(30) ? 2 * pool : pool));
  engine.max_num_seqs = random.Chance(10) ? 1 : random.Between(2, 24);
  engine.max_num_batched_tokens = engine.max_num_seqs + (random.Chance(50) ? random.Between(0, 64) : 0);
  engine.max_waiting_requests = random.Chance(30) ? random.Between(1, 8) : 1000;
  engine.max_waiting_tokens = random.Chance(20) ? 2 * engine.max_model_len : 1 << 20;
  engine.recompute_always = random.Chance(3);
  if (!engine.recompute_always && random.Chance(15)) BoundWindow(random, engine);
  engine.max_pinned_share = random.Chance(50) ? 0.5 : random.Between(0, 100) / 100.0;
  if (random.Chance(20)) engine.blocks.max_leases = random.Between(1, 4);
  return engine;
}

void DrawTiers(SimRandom& random, SimConfig& config) {
  if (!config.engine.blocks.enable_prefix_caching || config.engine.recompute_always || random.Chance(50)) return;
  const bool host = random.Chance(50);
  if (host) config.host_pages = random.LogBetween(1, 200);
  if (!host || random.Chance(50)) config.disk_pages = random.LogBetween(1, 400);
  config.staging_pages = random.LogBetween(2, 64);
  config.percent_follow_up = random.Between(30, 90);  // What was evicted is asked for again.
  config.max_tier_wait_ms = random.Between(1, 60);
  config.fetch_by_cost = random.Chance(20);
  config.transfer_period = random.Between(1, 4);
  config.percent_task_done = random.Chance(50) ? 98 : random.Between(20, 90);
  config.tier_reorder = Sometimes(random, 30, 8);
  config.percent_task_lost = Sometimes(random, 15, 5);
  config.percent_damage = Sometimes(random, 30, 30);
  config.percent_torn_write = Sometimes(random, 20, 30);
  config.percent_disk_full = Sometimes(random, 15, 3);
  config.percent_read_error = Sometimes(random, 15, 10);
  config.percent_restart = Sometimes(random, 40, 4);
}

// Somebody keeps the engine busy, and others come while a step computes that is to be given up for them.
void DrawGivingWay(SimRandom& random, SimConfig& config) {
  if (!config.runs_at_launch || random.Chance(50)) return;
  config.percent_come_within_step = random.Between(1, 100);
  if (random.Chance(50)) return;
  config.num_tenants = random.Between(2, SimConfig::kMaxTenants);
  config.percent_flood = random.Between(30, 90);
  config.arrivals_per_step = random.Between(5, 100);
  // The smaller a step, the sooner somebody has had more by a quantum.
  config.engine.max_num_batched_tokens = config.engine.max_num_seqs + config.engine.kv_window.sink_tokens;
}

}  // namespace

SimConfig DrawConfig(SimRandom& random) {
  SimConfig config;
  config.engine = DrawEngine(random);
  const int longest = config.LongestSequence();
  config.num_requests = random.LogBetween(8, 120);
  config.arrivals_per_step = random.Chance(30) ? 2000 : random.Between(5, 150);
  config.max_prompt = random.Between(1, longest - 1);
  config.max_output = random.Between(1, longest - 1);
  config.num_tenants = random.Chance(40) ? random.Between(2, SimConfig::kMaxTenants) : 1;
  for (int i = 0; i < SimConfig::kMaxTenants; ++i) {
    config.tenants[i].id = static_cast<uint64_t>(i);
    if (random.Chance(30)) config.tenants[i].weight = random.Between(1, 8) / 2.0;
  }
  config.percent_flood = Sometimes(random, 40, 95);
  config.endless_flood = config.num_tenants > 1 && random.Chance(30);
  config.num_families = random.Between(1, 4);
  config.num_priorities = random.Chance(30) ? random.Between(2, 4) : 1;
  config.max_samples = random.Chance(40) ? std::min(random.Between(2, 6), config.engine.max_num_seqs) : 1;
  config.percent_follow_up = Sometimes(random, 50, 60);
  config.percent_logprobs = Sometimes(random, 20, 50);
  config.percent_prompt_logprobs = Sometimes(random, 20, 50);
  config.percent_stop_tokens = Sometimes(random, 30, 50);
  config.percent_constrained = Sometimes(random, 30, 60);
  config.percent_deadline = Sometimes(random, 20, 50);
  config.percent_poisoned = Sometimes(random, 15, 30);
  config.percent_cancel = Sometimes(random, 30, 15);
  config.percent_finish_sample = Sometimes(random, 20, 10);
  config.percent_step_failure = Sometimes(random, 20, 10);
  config.percent_clock_jump = Sometimes(random, 10, 5);
  config.percent_clear_cache = Sometimes(random, 10, 10);
  config.percent_bad_request = Sometimes(random, 20, 20);
  config.page_events_from = Sometimes(random, 50, 100);
  config.percent_embed = Sometimes(random, 25, 50);
  DrawTiers(random, config);
  config.percent_leased = Sometimes(random, 40, 60);
  config.percent_disturb_leases = Sometimes(random, 40, 60);
  config.engine.pipeline_depth = random.Chance(70) ? 2 : 1;
  config.runs_at_launch = random.Chance(50);
  DrawGivingWay(random, config);
  return config;
}

int SimConfig::LongestSequence() const {
  if (engine.kv_window.bounded()) return engine.max_model_len;
  return std::min(engine.max_model_len, engine.blocks.num_blocks * engine.blocks.block_size);
}

std::string ToString(const SimConfig& config) {
  const EngineOptions& engine = config.engine;
  return absl::StrCat(engine.blocks.num_blocks, " pages of ", engine.blocks.block_size, " tokens, caching ",
                      engine.blocks.enable_prefix_caching ? "on" : "off", ", ", engine.blocks.key_bits,
                      " key bits, max_model_len ", engine.max_model_len, ", max_num_seqs ", engine.max_num_seqs,
                      ", max_num_batched_tokens ", engine.max_num_batched_tokens, ", ", config.num_requests,
                      " requests, up to ", config.max_samples, " samples, ", config.num_tenants, " tenants",
                      config.endless_flood ? " of which one floods, " : ", ", config.num_priorities,
                      " priorities, leases of ", config.percent_leased, " % of the requests and in ",
                      config.percent_disturb_leases, " % of the steps, ", config.host_pages, " pages on the host, ",
                      config.disk_pages, " on disk, ", engine.pipeline_depth, " steps under way, run ",
                      config.runs_at_launch ? "early" : "late", engine.recompute_always ? ", recomputing always" : "",
                      engine.kv_window.bounded()
                          ? absl::StrCat(", window of ", engine.kv_window.sink_tokens, " + ",
                                         engine.kv_window.recent_tokens, " by ", engine.kv_window.stride_tokens)
                          : "");
}

}  // namespace quire
