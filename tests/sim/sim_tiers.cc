#include "tests/sim/sim_tiers.h"

#include <algorithm>
#include <utility>

namespace quire {

// A medium that outlives its stores, and fails now and then.
class SimTiers::Slots : public PageSlots {
 public:
  Slots(MemorySlots& medium, const SimConfig& config, SimRandom& random)
      : medium_(medium), config_(config), random_(random) {}

  int num_slots() const override { return medium_.num_slots(); }
  int64_t page_bytes() const override { return medium_.page_bytes(); }
  std::vector<FoundPage> FindPages() override { return medium_.FindPages(); }
  absl::Status Write(SlotId slot, const PageRecord& page, uint64_t sequence,
                     std::span<const std::byte> bytes) override {
    if (config_.percent_disk_full > 0 && random_.Chance(config_.percent_disk_full)) {
      return absl::ResourceExhaustedError("planned");
    }
    const std::span<std::byte> raw = medium_.Raw(slot);
    const std::vector<std::byte> before(raw.begin(), raw.end());
    const absl::Status status = medium_.Write(slot, page, sequence, bytes);
    if (config_.percent_torn_write > 0 && random_.Chance(config_.percent_torn_write)) {
      const int end = random_.Between(0, static_cast<int>(raw.size()));
      std::copy(before.begin() + end, before.end(), raw.begin() + end);
    }
    return status;
  }
  absl::Status Read(SlotId slot, const PageRecord& page, uint64_t sequence, std::span<std::byte> bytes) override {
    if (config_.percent_read_error > 0 && random_.Chance(config_.percent_read_error)) {
      return absl::UnknownError("planned");
    }
    return medium_.Read(slot, page, sequence, bytes);
  }
  absl::Status Erase(SlotId slot) override { return medium_.Erase(slot); }
  absl::Status Clear() override { return medium_.Clear(); }

 private:
  MemorySlots& medium_;
  const SimConfig& config_;
  SimRandom& random_;
};

SimTiers::SimTiers(const SimConfig& config, int64_t page_bytes, SimRandom& random) : config_(config), random_(random) {
  const int page_tokens = config.engine.blocks.block_size;
  if (config.host_pages > 0) host_.medium = MemorySlots::Create(config.host_pages, page_tokens, page_bytes).value();
  if (config.disk_pages > 0) disk_.medium = MemorySlots::Create(config.disk_pages, page_tokens, page_bytes).value();
}

TierOptions SimTiers::Start(ModelRunner& runner) {
  TierOptions options;
  if (!any()) return options;
  if (host_.medium != nullptr) QUIRE_CHECK(host_.medium->Clear().ok());
  for (auto [tier, number] : {std::pair(&host_, KvTier::kHost), std::pair(&disk_, KvTier::kDisk)}) {
    if (tier->medium == nullptr) continue;
    tier->store = nullptr;
    tier->store = std::make_unique<PageStore>("a tier", std::make_unique<Slots>(*tier->medium, config_, random_),
                                              tier->queue, [](const std::string&) {});
    options.stores[static_cast<int>(number)] = tier->store.get();
  }
  options.staging = runner.AllocateHostPages(config_.staging_pages).value();
  options.max_wait = absl::Milliseconds(config_.max_tier_wait_ms);
  options.by_cost = config_.fetch_by_cost;
  return options;
}

void SimTiers::Step() {
  for (Tier* tier : {&host_, &disk_}) {
    if (tier->medium == nullptr) continue;
    RunTasks(tier->queue);
    if (config_.percent_damage > 0 && random_.Chance(config_.percent_damage)) Damage(*tier->medium);
  }
}

void SimTiers::RunTasks(Queue& queue) {
  std::deque<TaskQueue::Task>& tasks = queue.tasks;
  while (!tasks.empty() && random_.Chance(config_.percent_task_done)) {
    const int last = std::min<int>(config_.tier_reorder, static_cast<int>(tasks.size()) - 1);
    const auto next = tasks.begin() + random_.Between(0, last);
    TaskQueue::Task task = std::move(*next);
    tasks.erase(next);
    if (config_.percent_task_lost == 0 || !random_.Chance(config_.percent_task_lost)) task();
  }
}

// A bit turns, or a slot gets what another has.
void SimTiers::Damage(MemorySlots& medium) {
  const auto any_slot = [&] { return random_.Between(0, medium.num_slots() - 1); };
  const std::span<std::byte> raw = medium.Raw(any_slot());
  if (random_.Chance(50)) {
    raw[random_.Between(0, static_cast<int>(raw.size()) - 1)] ^= std::byte{1} << random_.Between(0, 7);
  } else {
    std::ranges::copy(medium.Raw(any_slot()), raw.begin());
  }
}

}  // namespace quire
