// The real engine, scheduler and block manager on a fake model, under everything that can go wrong, all of it drawn
// from one seed. After every step: every invariant of every class; each stream a prefix of its isolated run; no page
// shared between tenants, or written by one while another holds it; page events that tell what the cache has; leases that
// keep what they promise, to their owners; bounded queues; progress, also of those beside whom another floods; bounded
// differences between tenants. In the end: every request over, no page held. Now and then the engine is given up and
// another begins with what the tiers on disk have.
#pragma once

#include <cstdint>
#include <string>

namespace quire {

struct SimulationReport {
  std::string failure;      // What broke first, and in which circumstances; empty if nothing did.
  uint64_t trace_hash = 0;  // Of every output of every step: the same seed gives the same.

  // How much of the engine was exercised.
  int64_t num_steps = 0;
  int64_t num_tokens = 0;
  int64_t num_cached_tokens = 0;
  int64_t num_preemptions = 0;
  int64_t num_steps_ahead = 0;    // Launched while the one before them was under way.
  int64_t num_steps_given_up = 0;
  int64_t num_fetched_pages = 0;  // From tiers,
  int64_t num_refused_pages = 0;  // and that were not what they should have been.
  int64_t num_restarts = 0;
  int64_t num_leases = 0;
  int64_t num_leases_shortened = 0;
};

SimulationReport Simulate(uint64_t seed);

}  // namespace quire
