#include "server/http/openai/embedding_request.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "engine/types/status_macros.h"
#include "server/http/json_fields.h"
#include "server/http/openai/request_fields.h"
#include "server/status_details.h"

namespace quire {

absl::StatusOr<EmbeddingRequest> ParseEmbeddingRequest(const Json& body, const RequestChecks& checks) {
  const JsonFields fields(body);
  EmbeddingRequest request;
  EmbeddingOptions& options = request.options;
  RETURN_IF_ERROR(ReadModel(fields, checks));
  RETURN_IF_ERROR(ReadPrompts(fields, "input", checks, request.prompts));
  for (const NamedPrompt& named : request.prompts) {
    const auto* text = std::get_if<std::string>(&named.prompt);
    if (text != nullptr && text->empty()) return InvalidField(named.field, "must not be empty");
  }
  std::string format = "float";
  RETURN_IF_ERROR(fields.Read("encoding_format", format));
  if (format != "float" && format != "base64") {
    return InvalidField("encoding_format", absl::StrCat("must be \"float\" or \"base64\", got \"", format, "\""));
  }
  options.base64 = format == "base64";
  RETURN_IF_ERROR(fields.Read("dimensions", options.dimensions));
  const int hidden_size = checks.model().hidden_size;
  if (options.dimensions && (*options.dimensions < 1 || *options.dimensions > hidden_size)) {
    return InvalidField("dimensions", absl::StrCat("must be in [1, ", hidden_size, "], got ", *options.dimensions));
  }
  RETURN_IF_ERROR(fields.Read("normalize", options.normalize));
  RETURN_IF_ERROR(fields.Read("priority", request.priority));
  return request;
}

}  // namespace quire
