#include "server/tools/apply_tools.h"

#include <utility>

#include "engine/types/status_macros.h"
#include "server/status_details.h"
#include "server/tools/tool_use.h"

namespace quire {

absl::Status ApplyTools(const Json& tools, const Json& choice_json, bool parallel, const ServedModel& model,
                        PipelineRequest& request) {
  ToolChoice choice{.parallel = parallel};
  RETURN_IF_ERROR(CheckTools("tools", tools));
  RETURN_IF_ERROR(ReadToolChoice("tool_choice", choice_json, tools, &choice));
  if (tools.empty() || choice.kind == ToolChoice::Kind::kNone) return absl::OkStatus();
  ToolUse use = PlanToolUse(tools, choice, model.call_syntax);
  std::get<Conversation>(request.prompt).tools = tools;
  request.call_syntax = use.syntax;
  request.parallel_calls = use.parallel;
  if (use.format.kind == OutputFormat::Kind::kFree) return absl::OkStatus();
  if (request.output_format.kind != OutputFormat::Kind::kFree) {
    return InvalidField("tool_choice", "must not enforce a call where the answer's form is prescribed as well");
  }
  request.output_format = std::move(use.format);
  return absl::OkStatus();
}

}  // namespace quire
