// Deliberate bugs, for the tests that show that the simulator notices them; see block_manager/planted_bug.h. Only .cc
// files may include this. tests/sim/CMakeLists.txt compiles the file that has a bug once more for it.
#pragma once

#ifndef QUIRE_PLANT_SCHEDULER_BUG
#define QUIRE_PLANT_SCHEDULER_BUG 0
#endif

namespace quire {

enum class PlantedSchedulerBug {
  kNone = 0,
  kUnpaidService = 1,       // What a tenant is served is not counted.
  kEndlessVictim = 2,       // No sequence is exempt from preemption.
  kAheadOfAnotherRow = 3,   // A step planned ahead forgets that those that have ended had rows.
  kWastedRowCounts = 4,     // What a step planned ahead computes for those that have ended is taken for theirs.
  kSlidWindowGivesWay = 5,  // A step is given up that was to rotate sinks anew.
};
inline constexpr PlantedSchedulerBug kPlantedSchedulerBug =
    static_cast<PlantedSchedulerBug>(QUIRE_PLANT_SCHEDULER_BUG);

}  // namespace quire
