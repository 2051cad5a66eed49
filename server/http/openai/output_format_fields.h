// The fields that ask for an answer of a certain form.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "server/http/json_fields.h"
#include "server/output_format.h"

namespace quire {

// `response_format`, and vLLM's `structured_outputs` and `guided_*`, of which one may be given.
absl::Status ReadOutputFormat(const JsonFields& fields, OutputFormat& format);

// The field of the object that Responses and Messages have for it: {"type": "json_schema", "schema": ...}.
absl::Status ReadFlatOutputFormat(const JsonFields& fields, const std::string& name, OutputFormat& format);

}  // namespace quire
