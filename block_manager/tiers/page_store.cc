#include "block_manager/tiers/page_store.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/check.h"

namespace quire {

PageStore::PageStore(std::string name, std::unique_ptr<PageSlots> slots, TaskQueue& queue,
                     std::function<void(const std::string&)> warn)
    : name_(std::move(name)),
      slots_(std::move(slots)),
      queue_(queue),
      warn_(std::move(warn)),
      index_(slots_->num_slots()) {
  std::vector<FoundPage> found = slots_->FindPages();
  std::ranges::stable_sort(found, {}, &FoundPage::sequence);
  for (const FoundPage& page : found) index_.Adopt(page.slot, page.page.key);
  if (!found.empty()) next_sequence_ = found.back().sequence + 1;
}

PageStore::~PageStore() { queue_.Drain(); }

bool PageStore::Write(const PageRecord& page, std::span<const std::byte> bytes, Ticket ticket) {
  QUIRE_CHECK(static_cast<int64_t>(bytes.size()) == slots_->page_bytes());
  if (!writes_) return false;
  const SlotId slot = index_.Take();
  if (slot == kNoBlock) return false;
  queue_.Post([this, page, bytes, done = Done{Kind::kWrite, ticket, slot, page.key, epoch_, {}},
               sequence = next_sequence_++]() mutable {
    done.status = slots_->Write(done.slot, page, sequence, bytes);
    Report(std::move(done));
  });
  return true;
}

bool PageStore::Read(const PageRecord& page, std::span<std::byte> bytes, Ticket ticket) {
  QUIRE_CHECK(static_cast<int64_t>(bytes.size()) == slots_->page_bytes());
  if (!reads_ || !index_.Contains(page.key)) return false;
  const SlotId slot = index_.Hold(page.key);
  queue_.Post([this, page, bytes, done = Done{Kind::kRead, ticket, slot, page.key, epoch_, {}},
               sequence = next_sequence_++]() mutable {
    done.status = slots_->Read(done.slot, page, sequence, bytes);
    Report(std::move(done));
  });
  return true;
}

void PageStore::Evict(PageChoice choice) {
  queue_.Post([this, choice = std::move(choice)] { Report(EraseChosen(choice)); });
}

// On the queue's thread, where entries tell more than the index knows.
PageStore::Done PageStore::EraseChosen(const PageChoice& choice) {
  Done done{Kind::kEvict, 0, kNoBlock, {}, 0, {}};
  const std::vector<FoundPage> pages = slots_->FindPages();
  for (size_t i : ChoosePages(choice, pages)) {
    done.status = slots_->Erase(pages[i].slot);
    if (!done.status.ok()) break;
    done.erased.emplace_back(pages[i].slot, pages[i].page.key);
  }
  return done;
}

void PageStore::Clear() {
  index_.Clear();
  ++epoch_;
  queue_.Post([this] { Report({Kind::kClear, 0, kNoBlock, {}, 0, slots_->Clear()}); });
}

void PageStore::Report(Done done) {
  std::lock_guard lock(mutex_);
  done_.push_back(std::move(done));
  if (done_.size() == 1 && wake_) wake_();
}

bool PageStore::HasCompletions() const {
  std::lock_guard lock(mutex_);
  return !done_.empty();
}

void PageStore::OnCompletions(std::function<void()> wake) {
  std::lock_guard lock(mutex_);
  wake_ = std::move(wake);
}

std::vector<PageStore::Completion> PageStore::TakeCompletions() {
  std::vector<Done> all;
  {
    std::lock_guard lock(mutex_);
    all.swap(done_);
  }
  std::vector<Completion> completions;
  for (Done& done : all) {
    Settle(done);
    const bool has_ticket = done.kind == Kind::kRead || done.kind == Kind::kWrite;
    if (has_ticket) completions.push_back({done.ticket, std::move(done.status)});
  }
  return completions;
}

void PageStore::Settle(const Done& done) {
  if (!done.status.ok()) NoteFailure(done);
  for (const auto& [slot, key] : done.erased) index_.Drop(slot, key);
  if (done.kind == Kind::kClear || done.kind == Kind::kEvict) return;
  if (!done.status.ok() || done.epoch != epoch_) return index_.Abandon(done.slot);
  index_.Keep(done.slot, done.key);
  ++(done.kind == Kind::kRead ? totals_.pages_read : totals_.pages_written);
}

void PageStore::NoteFailure(const Done& done) {
  if (absl::IsDataLoss(done.status)) {
    // What was given up while it was to be read is no damage.
    totals_.pages_refused += done.epoch == epoch_ && index_.Contains(done.key);
    return;
  }
  ++totals_.failures;
  if (done.kind != Kind::kRead) writes_ = false;
  // What is there now must not come back.
  if (done.kind == Kind::kClear || done.kind == Kind::kEvict) reads_ = false;
  if (done.kind == Kind::kRead && ++num_failed_reads_ >= kMaxFailedReads) writes_ = reads_ = false;
  if (!reads_) index_.Clear();
  if (std::exchange(warned_, true)) return;
  warn_(absl::StrCat(name_, " failed and is ", reads_ ? "used less" : "not used", " from now on: ",
                     std::string(done.status.message())));
}

TierStats PageStore::stats() const {
  TierStats stats = totals_;
  stats.capacity = slots_->num_slots();
  stats.pages = index_.num_pages();
  stats.page_bytes = slots_->page_bytes();
  stats.pages_evicted = index_.num_evicted();
  return stats;
}

}  // namespace quire
