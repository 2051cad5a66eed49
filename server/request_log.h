// The one log line that each request leaves.
#pragma once

#include "engine/types/step_output.h"
#include "server/request_context.h"

namespace quire {

// Ids, counts and times; never a word of a prompt or an answer.
void LogRequestEnd(const RequestContext& context, const SequenceOutput& last);

}  // namespace quire
