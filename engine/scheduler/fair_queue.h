// FairQueue: sequences that wait for a seat and for pages, each tenant's in a queue of its own, and how much each
// tenant has been served.
//
// Fairness is that of virtual token counters (Sheng et al., "Fairness in Serving Large Language Models", 2024). Service
// is counted in weighted tokens, a prompt's that had to be computed once and an output's kOutputWeight times, divided
// by the tenant's weight. Of the tenants that wait, those within a quantum of the least served are equals, among whom
// the scheduler may choose. A tenant that had nothing waiting is lifted to a quantum behind the least served of those
// that had: it saves up no more than that by being away.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <tuple>
#include <vector>

#include "engine/scheduler/request_queue.h"
#include "engine/types/sequence.h"
#include "engine/types/tenant_share.h"

namespace quire {

struct TenantAccount {
  TenantShare share;
  int64_t served = 0;  // Virtual; FairQueue::kUnit is a token of a tenant of weight 1.
  RequestQueue waiting;
  int num_running = 0;  // Sequences.
  // Whether, when the step being planned began, it had had more than another that waits by over a quantum.
  bool had_enough = false;

  bool active() const { return num_running > 0 || !waiting.empty(); }
};

// Strict and total.
inline bool LessServed(const TenantAccount& a, const TenantAccount& b) {
  return std::tie(a.served, a.share.id) < std::tie(b.served, b.share.id);
}

class FairQueue {
 public:
  static constexpr int kOutputWeight = 2;
  static constexpr int64_t kUnit = 1024;
  // Idle tenants that have had more than others are remembered, up to so many.
  static constexpr size_t kMaxIdle = 4096;

  // `quantum`: weighted tokens by which tenants may differ without one going before the other.
  explicit FairQueue(int quantum) : quantum_(quantum * kUnit) {}

  // A new sequence, whose request gets its account; or one that was preempted.
  void Insert(Sequence& sequence);
  // REQUIRES: in the queue, with as many tokens as when it was inserted.
  void Remove(Sequence& sequence);

  // Counts the tokens from num_computed on that `sequence` will have computed next, and that were not counted before.
  void Charge(Sequence& sequence, int num_computed);
  // Whether `other` has had so much more than `tenant` that it has to make room.
  bool IsOverServed(const TenantAccount& other, const TenantAccount& tenant) const {
    return other.served > tenant.served + quantum_;
  }

  // The same for a tenant from which a request would come now.
  bool IsOverServedFor(const TenantAccount& other, uint64_t newcomer) const;
  // Whether each tenant has had more than `behind` by over a quantum; none has where that is null.
  void NoteWhoHadEnough(const TenantAccount* behind);

  // Those with sequences that wait.
  std::vector<TenantAccount*> Waiting() const;
  // Forgets accounts that nobody needs. Sequences must not have ended since the last step began.
  void ForgetIdle();

  // nullptr: nothing is known of it.
  const TenantAccount* Find(uint64_t tenant) const;
  int64_t quantum() const { return quantum_; }
  // Of all tenants.
  int size() const { return num_waiting_; }
  bool empty() const { return num_waiting_ == 0; }
  int64_t num_tokens() const { return num_tokens_; }

  void CheckInvariants() const;

 private:
  TenantAccount& AccountOf(const TenantShare& share);
  int64_t LeastServed() const;
  // What a tenant counts as having been served that was away: just so far behind the others that they make room at once.
  int64_t Lifted(int64_t served) const { return std::max(served, LeastServed() - quantum_ - 1); }

  const int64_t quantum_;
  std::map<uint64_t, std::unique_ptr<TenantAccount>> accounts_;
  int64_t last_left_ = 0;  // What the tenant had been served that was the last to have nothing waiting any more.
  int num_waiting_ = 0;
  int64_t num_tokens_ = 0;
};

}  // namespace quire
