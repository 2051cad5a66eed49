// Tiers of a simulation, with media that survive restarts and queues that are late, change the order and lose tasks.
#pragma once

#include <deque>
#include <memory>
#include <vector>

#include "block_manager/tiers/memory_slots.h"
#include "block_manager/tiers/page_store.h"
#include "engine/tiers/page_tiers.h"
#include "tests/sim/sim_config.h"
#include "tests/sim/sim_random.h"

namespace quire {

class SimTiers {
 public:
  SimTiers(const SimConfig& config, int64_t page_bytes, SimRandom& random);

  bool any() const { return config_.host_pages > 0 || config_.disk_pages > 0; }
  // For an engine over this runner; those made before are over, and so is what they had begun.
  TierOptions Start(ModelRunner& runner);
  // Lets some of what waits happen, and some of what can go wrong.
  void Step();

 private:
  class Queue : public TaskQueue {
   public:
    void Post(Task task) override { tasks.push_back(std::move(task)); }
    void Drain() override { tasks.clear(); }
    std::deque<Task> tasks;
  };
  class Slots;
  struct Tier {
    std::unique_ptr<MemorySlots> medium;
    Queue queue;
    std::unique_ptr<PageStore> store;
  };

  void RunTasks(Queue& queue);
  void Damage(MemorySlots& medium);

  const SimConfig& config_;
  SimRandom& random_;
  Tier host_;
  Tier disk_;
};

}  // namespace quire
