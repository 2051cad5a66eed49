#include "server/output_format.h"

#include <utility>

#include "engine/types/json.h"
#include "kernels/check.h"

namespace quire {

std::string StructuralTag(const OutputFormat& format, int max_whitespace) {
  QUIRE_CHECK(format.kind == OutputFormat::Kind::kFrames && !format.frames.empty());
  Json tags = Json::array();
  for (const OutputFormat::Frame& frame : format.frames) {
    const Json content = {
        {"type", "json_schema"}, {"json_schema", Json::parse(frame.schema)}, {"max_whitespace_cnt", max_whitespace}};
    tags.push_back({{"type", "tag"}, {"begin", frame.begin}, {"content", content}, {"end", frame.end}});
  }
  Json body = {{"type", "tags_with_separator"},
               {"tags", std::move(tags)},
               {"separator", format.separator.value_or("")},
               {"at_least_one", true},
               {"stop_after_first", !format.separator.has_value()}};
  Json elements = Json::array();
  if (!format.before.empty()) elements.push_back({{"type", "const_string"}, {"value", format.before}});
  elements.push_back(std::move(body));
  if (!format.behind.empty()) elements.push_back({{"type", "const_string"}, {"value", format.behind}});
  const Json whole = elements.size() == 1 ? elements[0] : Json({{"type", "sequence"}, {"elements", elements}});
  return Json({{"type", "structural_tag"}, {"format", whole}}).dump();
}

}  // namespace quire
