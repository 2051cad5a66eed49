// What a request says about tools: which there are, and whether and how the model is to call them.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "engine/types/json.h"
#include "server/output_format.h"
#include "server/tools/call_syntax.h"

namespace quire {

struct ToolChoice {
  enum class Kind {
    kAuto,      // The model decides.
    kNone,      // No call; the model does not see the tools.
    kRequired,  // At least one call.
    kNamed,     // One call, of `name`.
  };
  Kind kind = Kind::kAuto;
  std::string name = {};
  bool parallel = true;  // Several calls in one answer are welcome.
};

// Checks tools as OpenAI's protocol has them: [{"type": "function", "function": {"name", "description",
// "parameters"}}]. Null and [] are none. INVALID_ARGUMENT names what is wrong, in the field `field`.
absl::Status CheckTools(const std::string& field, const Json& tools);

// Reads OpenAI's tool_choice: "none", "auto", "required" or {"type": "function", "function": {"name"}}; null is the
// default. INVALID_ARGUMENT names `field`, also where a tool is named that is not among the checked `tools`.
absl::Status ReadToolChoice(const std::string& field, const Json& value, const Json& tools, ToolChoice* choice);

// How an answer's calls are found, and what enforces them.
struct ToolUse {
  const CallSyntax* syntax = nullptr;  // Null: calls are not looked for.
  bool parallel = true;
  OutputFormat format;  // Not kFree where calls are enforced.
};
// `syntax` is the model's own, null if that is unknown. REQUIRES: checked tools and choice; tools are not empty.
ToolUse PlanToolUse(const Json& tools, const ToolChoice& choice, const CallSyntax* syntax);

}  // namespace quire
