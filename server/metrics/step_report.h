// StepReport: what the engine's thread tells of each step, for metrics.
#pragma once

#include "engine/engine.h"
#include "engine/types/step_output.h"

namespace quire {

struct StepReport {
  int num_scheduled_tokens = 0;
  StepTimings timings;
  EngineStats stats;  // Right after the step.
};

}  // namespace quire
