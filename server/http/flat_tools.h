// Tools of APIs whose tools have their name and schema at the top, where chat completions have a "function" around
// them.
#pragma once

#include "absl/status/status.h"
#include "server/http/json_fields.h"
#include "server/serving_pipeline.h"

namespace quire {

struct FlatToolNames {
  const char* type;    // What the one type of tools is called; tools without a type are of it.
  const char* schema;  // The field that has the arguments' schema.
};

// The field `tools` in the form of chat completions; null where it is absent. INVALID_ARGUMENT for tools of other
// types, which are those that a server would run by itself.
absl::StatusOr<Json> ReadFlatTools(const JsonFields& fields, const FlatToolNames& names);

// A tool_choice that names a function, in the form of chat completions.
Json NamedToolChoice(const Json& name);

// ApplyTools (see there) with complaints that name the fields of the flat form.
absl::Status ApplyFlatTools(const Json& tools, const Json& choice, bool parallel, const FlatToolNames& names,
                            const ServedModel& model, PipelineRequest& request);

}  // namespace quire
