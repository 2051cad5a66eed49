// Puts what a request says about tools into what the pipeline understands.
#pragma once

#include "absl/status/status.h"
#include "engine/types/json.h"
#include "server/serving_pipeline.h"

namespace quire {

// Shows the tools to the model and says how its calls are found, and enforced. `tools`, `choice` and `parallel` are
// OpenAI's fields tools, tool_choice (see ReadToolChoice) and parallel_tool_calls, by which names INVALID_ARGUMENT
// complains of them. REQUIRES: request.prompt is a conversation, and its output format was read.
absl::Status ApplyTools(const Json& tools, const Json& choice, bool parallel, const ServedModel& model,
                        PipelineRequest& request);

}  // namespace quire
