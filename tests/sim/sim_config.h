// One simulation's circumstances. Drawn as a swarm: each seed leaves most features out, so that together they meet in
// combinations that an average of everything would never show.
#pragma once

#include <string>

#include "engine/engine.h"
#include "tests/sim/sim_random.h"

namespace quire {

struct SimConfig {
  EngineOptions engine;

  // What requests are like.
  int num_requests = 0;
  int arrivals_per_step = 0;  // Percent: 100 is one a step on average.
  int max_prompt = 0;         // Tokens.
  int max_output = 0;
  int num_tenants = 1;   // At most kMaxTenants.
  int percent_flood = 0;  // Requests that are the first tenant's whatever is drawn.
  bool endless_flood = false;  // The first tenant's requests come until those of all others are over.
  int num_families = 1;  // Sets of prompts that begin alike.
  int num_priorities = 1;
  int max_samples = 1;
  int percent_follow_up = 0;  // Prompts that extend an earlier request's prompt and output.
  int percent_logprobs = 0;
  int percent_prompt_logprobs = 0;
  int percent_stop_tokens = 0;
  int percent_embed = 0;  // Requests for embeddings.
  int percent_constrained = 0;
  int percent_deadline = 0;
  int percent_poisoned = 0;  // Requests one of whose rows is not finite.
  int percent_leased = 0;    // Requests that ask for a lease.
  int page_events_from = 0;  // The step at which somebody asks for page events.
  bool runs_at_launch = false;  // See FakeModelRunner.
  int percent_come_within_step = 0;  // Steps while which a request comes, for which they may be given up.

  // What goes wrong, percent of steps.
  int percent_cancel = 0;
  int percent_finish_sample = 0;
  int percent_step_failure = 0;
  int percent_clock_jump = 0;
  int percent_clear_cache = 0;
  int percent_bad_request = 0;
  int percent_disturb_leases = 0;  // A lease is taken or given back, or something is evicted.

  // Tiers outside the pool: pages that they have room for, 0 for none; and what goes wrong with them.
  int host_pages = 0;
  int disk_pages = 0;
  int staging_pages = 2;
  int max_tier_wait_ms = 0;
  bool fetch_by_cost = true;
  int transfer_period = 1;      // See FakeModelRunner::SlowTransfersDown.
  int percent_task_done = 100;  // Chance that one more of the waiting reads and writes is done before a step.
  int tier_reorder = 0;         // By how many places it may overtake others.
  int percent_task_lost = 0;
  int percent_damage = 0;  // Of steps; the next three are of reads and writes.
  int percent_torn_write = 0;
  int percent_disk_full = 0;
  int percent_read_error = 0;
  int percent_restart = 0;  // Of steps: all requests are cancelled, and a new engine finds what the disk has.

  static constexpr int kMaxTenants = 4;
  TenantShare tenants[kMaxTenants];

  // Tokens of prompt and output.
  int LongestSequence() const;
};

SimConfig DrawConfig(SimRandom& random);
std::string ToString(const SimConfig& config);

}  // namespace quire
