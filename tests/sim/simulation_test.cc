#include "tests/sim/simulation.h"

#include <gtest/gtest.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>

#include "tests/sanitized.h"

namespace quire {
namespace {

constexpr int kNumShards = 4;
constexpr int kDefaultSeeds = kSanitized ? 1000 : 8000;

std::optional<uint64_t> FromEnvironment(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr) return std::nullopt;
  return std::strtoull(value, nullptr, 10);
}

volatile std::sig_atomic_t current_seed = 0;

// A failed QUIRE_CHECK ends the process: say at least where it happened.
void SaySeed(int) {
  std::fprintf(stderr, "aborted in seed %ld; QUIRE_SIM_SEED=%ld runs it alone\n", static_cast<long>(current_seed),
               static_cast<long>(current_seed));
}

SimulationReport SimulateLoudly(uint64_t seed) {
  current_seed = static_cast<std::sig_atomic_t>(seed);
  std::signal(SIGABRT, SaySeed);
  SimulationReport report = Simulate(seed);
  EXPECT_EQ(report.failure, "") << "QUIRE_SIM_SEED=" << seed << " runs it alone";
  return report;
}

class Simulator : public ::testing::TestWithParam<int> {};

// QUIRE_SIM_SEEDS=N runs N seeds in all, QUIRE_SIM_FIRST=F those from F on; QUIRE_SIM_SEED=S runs that one in the first
// shard and nothing else.
TEST_P(Simulator, FindsNothingWrong) {
  const int shard = GetParam();
  if (const auto only = FromEnvironment("QUIRE_SIM_SEED")) {
    if (shard == 0) SimulateLoudly(*only);
    return;
  }
  const uint64_t first = FromEnvironment("QUIRE_SIM_FIRST").value_or(0);
  const uint64_t end = first + FromEnvironment("QUIRE_SIM_SEEDS").value_or(kDefaultSeeds);
  SimulationReport sum;
  for (uint64_t seed = first + shard; seed < end && !HasFailure(); seed += kNumShards) {
    const SimulationReport report = SimulateLoudly(seed);
    sum.num_steps += report.num_steps;
    sum.num_tokens += report.num_tokens;
    sum.num_cached_tokens += report.num_cached_tokens;
    sum.num_preemptions += report.num_preemptions;
    sum.num_steps_ahead += report.num_steps_ahead;
    sum.num_steps_given_up += report.num_steps_given_up;
    sum.num_fetched_pages += report.num_fetched_pages;
    sum.num_refused_pages += report.num_refused_pages;
    sum.num_restarts += report.num_restarts;
    sum.num_leases += report.num_leases;
    sum.num_leases_shortened += report.num_leases_shortened;
  }
  std::printf("%ld steps, %ld tokens, %ld cached tokens, %ld preemptions, %ld pages fetched, %ld refused, %ld restarts\n",
              sum.num_steps, sum.num_tokens, sum.num_cached_tokens, sum.num_preemptions, sum.num_fetched_pages,
              sum.num_refused_pages, sum.num_restarts);
  std::printf("%ld leases, %ld of them shortened; %ld steps launched ahead, %ld given up\n", sum.num_leases,
              sum.num_leases_shortened, sum.num_steps_ahead, sum.num_steps_given_up);
  // A simulation that nothing happens in would find nothing wrong either.
  EXPECT_GT(sum.num_cached_tokens, 0);
  EXPECT_GT(sum.num_preemptions, 0);
  EXPECT_GT(sum.num_steps_ahead, 0);
  EXPECT_GT(sum.num_steps_given_up, 0);
  EXPECT_GT(sum.num_fetched_pages, 0);
  EXPECT_GT(sum.num_refused_pages, 0);
  EXPECT_GT(sum.num_restarts, 0);
  EXPECT_GT(sum.num_leases_shortened, 0);
}

INSTANTIATE_TEST_SUITE_P(Shard, Simulator, ::testing::Range(0, kNumShards));

TEST(SimulatorItself, RepeatsASeedExactly) {
  for (uint64_t seed = 0; seed < 40; ++seed) {
    EXPECT_EQ(Simulate(seed).trace_hash, Simulate(seed).trace_hash) << "seed " << seed;
  }
  EXPECT_NE(Simulate(0).trace_hash, Simulate(1).trace_hash);
}

}  // namespace
}  // namespace quire
