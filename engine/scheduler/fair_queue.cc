#include "engine/scheduler/fair_queue.h"

#include <algorithm>
#include <cmath>

#include "engine/scheduler/planted_bug.h"
#include "kernels/check.h"

namespace quire {

TenantAccount& FairQueue::AccountOf(const TenantShare& share) {
  std::unique_ptr<TenantAccount>& account = accounts_[share.id];
  if (account == nullptr) account = std::make_unique<TenantAccount>();
  account->share = share;
  return *account;
}

int64_t FairQueue::LeastServed() const {
  const TenantAccount* least = nullptr;
  for (const auto& [id, account] : accounts_) {
    if (!account->waiting.empty() && (least == nullptr || LessServed(*account, *least))) least = account.get();
  }
  return least == nullptr ? last_left_ : least->served;
}

void FairQueue::Insert(Sequence& sequence) {
  RequestState& request = *sequence.request;
  if (request.account == nullptr) {
    request.account = &AccountOf(request.tenant);
    TenantAccount& account = *request.account;
    if (account.waiting.empty()) account.served = Lifted(account.served);
  }
  request.account->waiting.Insert(sequence);
  ++num_waiting_;
  num_tokens_ += static_cast<int64_t>(sequence.tokens.size());
}

void FairQueue::Remove(Sequence& sequence) {
  TenantAccount& account = *sequence.request->account;
  account.waiting.Remove(sequence);
  if (account.waiting.empty()) last_left_ = account.served;
  --num_waiting_;
  num_tokens_ -= static_cast<int64_t>(sequence.tokens.size());
}

void FairQueue::Charge(Sequence& sequence, int num_computed) {
  const int from = sequence.num_charged;
  if (num_computed <= from) return;
  sequence.num_charged = num_computed;
  if (kPlantedSchedulerBug == PlantedSchedulerBug::kUnpaidService) return;
  const int prompt = sequence.request->num_prompt_tokens;
  const int num_prompt = std::min(num_computed, prompt) - std::min(from, prompt);
  const int64_t tokens = num_prompt + int64_t{kOutputWeight} * (num_computed - from - num_prompt);
  TenantAccount& account = *sequence.request->account;
  account.served += tokens * std::max<int64_t>(1, std::llround(kUnit / account.share.weight));
}

bool FairQueue::IsOverServedFor(const TenantAccount& other, uint64_t newcomer) const {
  const TenantAccount* account = Find(newcomer);
  return other.served > Lifted(account == nullptr ? 0 : account->served) + quantum_;
}

void FairQueue::NoteWhoHadEnough(const TenantAccount* behind) {
  for (const auto& [id, account] : accounts_) account->had_enough = behind != nullptr && IsOverServed(*account, *behind);
}

std::vector<TenantAccount*> FairQueue::Waiting() const {
  std::vector<TenantAccount*> waiting;
  for (const auto& [id, account] : accounts_) {
    if (!account->waiting.empty()) waiting.push_back(account.get());
  }
  return waiting;
}

void FairQueue::ForgetIdle() {
  if (accounts_.size() == 1) return;
  const int64_t lifted = LeastServed() - quantum_ - 1;
  // The lift would take it there anyway.
  std::erase_if(accounts_,
                [lifted](const auto& entry) { return !entry.second->active() && entry.second->served <= lifted; });
  // Beyond what is remembered, whoever comes first by number is forgiven: rare, and harmless but for its surplus.
  size_t num_idle =
      std::count_if(accounts_.begin(), accounts_.end(), [](const auto& entry) { return !entry.second->active(); });
  for (auto it = accounts_.begin(); num_idle > kMaxIdle;) {
    if (it->second->active()) {
      ++it;
    } else {
      it = accounts_.erase(it);
      --num_idle;
    }
  }
}

const TenantAccount* FairQueue::Find(uint64_t tenant) const {
  const auto found = accounts_.find(tenant);
  return found == accounts_.end() ? nullptr : found->second.get();
}

void FairQueue::CheckInvariants() const {
  int num_waiting = 0;
  int64_t num_tokens = 0;
  for (const auto& [id, account] : accounts_) {
    QUIRE_CHECK(account->share.id == id && account->num_running >= 0);
    account->waiting.CheckInvariants();
    num_waiting += account->waiting.size();
    num_tokens += account->waiting.num_tokens();
  }
  QUIRE_CHECK(num_waiting == num_waiting_ && num_tokens == num_tokens_);
}

}  // namespace quire
