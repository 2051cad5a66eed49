// Watches what tenants get: that of two which both have something waiting neither gets much more than the other, and
// that no sequence is preempted over and over. Counts service itself: what was computed for a request, and received.
#pragma once

#include <map>
#include <string>
#include <utility>

#include "engine/scheduler/scheduler.h"
#include "engine/types/step_output.h"
#include "tests/sim/sim_config.h"

namespace quire {

class FairnessChecker {
 public:
  explicit FairnessChecker(const SimConfig& config);

  // What a request of this tenant got.
  void Count(int tenant, const SequenceOutput& output);
  // After each step.
  void Check(const Scheduler& scheduler);

  // The first thing that was wrong; empty if nothing was.
  const std::string& failure() const { return failure_; }

 private:
  // By how much one tenant was ahead of another while both had something waiting.
  struct Gap {
    double least = 0;
    double most = 0;
  };

  // A request has had so many weighted tokens in all by now.
  void Note(int tenant, RequestId request, double tokens);
  void Look(int tenant, const Sequence& sequence);
  void CheckGap(int a, int b, const Scheduler& scheduler);
  void CheckPreemptions(const Sequence& sequence);

  const SimConfig& config_;
  double bound_;  // Of weighted tokens over weight.
  std::map<RequestId, double> noted_;
  double served_[SimConfig::kMaxTenants] = {};
  std::map<std::pair<int, int>, Gap> gaps_;  // Of those that both have something waiting.
  std::string failure_;
};

}  // namespace quire
