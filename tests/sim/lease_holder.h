// The holders of leases in a simulation: they take leases and give them back at random, and know what each must keep.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "tests/sim/sim_config.h"
#include "tests/sim/sim_random.h"
#include "tests/sim/workload.h"

namespace quire {

class LeaseHolder {
 public:
  // All outlive this object.
  LeaseHolder(const SimConfig& config, SimRandom& random, Workload& workload, Engine& engine)
      : config_(config), random_(random), workload_(workload), engine_(engine) {}

  // Pins something, unpins something, or has something evicted.
  void Disturb(absl::Time now);
  // What a request got that asked for a lease; `tokens` are its prompt and output.
  void Take(const SequenceOutput& output, std::vector<TokenId> tokens);
  void CacheWasCleared() { held_.clear(); }
  void EndAll(absl::Time now);

  // That every lease keeps what it must, and that nobody sees another's. After each step.
  void Check(absl::Time now);
  const std::string& failure() const { return failure_; }
  int64_t num_taken() const { return num_taken_; }
  int64_t num_shortened() const { return num_shortened_; }

 private:
  struct Held {
    Lease lease;
    std::vector<TokenId> tokens;
  };

  void Fail(const std::string& what) {
    if (failure_.empty()) failure_ = what;
  }
  void ForgetExpired(absl::Time now);
  void Pin(absl::Time now);
  void Unpin(absl::Time now);
  void Evict();
  void CheckLease(Held& held, const Lease* found);
  uint64_t AnyOwner() { return SaltOf(random_.Between(0, config_.num_tenants - 1)); }

  const SimConfig& config_;
  SimRandom& random_;
  Workload& workload_;
  Engine& engine_;
  absl::Time clock_ = absl::InfinitePast();  // Like the engine's: it never goes back.
  std::map<LeaseId, Held> held_;
  int64_t num_taken_ = 0;
  int64_t num_shortened_ = 0;
  std::string failure_;
};

}  // namespace quire
