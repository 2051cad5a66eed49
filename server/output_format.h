// What a request may demand of the shape of its answer.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace quire {

struct OutputFormat {
  enum class Kind {
    kFree,           // Whatever the model says.
    kJsonObject,     // Any JSON object.
    kJsonSchema,     // JSON that the schema in `source` accepts.
    kRegex,          // A text that the regular expression in `source` matches from end to end.
    kGrammar,        // A text that the EBNF grammar in `source` (rule `root`) derives.
    kChoice,         // One of `choices`, to the letter.
    kStructuralTag,  // Texts, schemas, regular expressions and grammars, put together as ReadStructuralTag has it.
    kFrames,         // `before`, some of `frames` with `separator` between them (one if that is not set), `behind`.
  };
  // JSON that the schema accepts, between two texts.
  struct Frame {
    std::string begin, schema, end;
  };
  Kind kind = Kind::kFree;
  std::string source = {};
  std::vector<std::string> choices = {};
  std::vector<Frame> frames = {};
  std::string before = {}, behind = {};
  std::optional<std::string> separator = {};
  std::string field = {};  // Where it stands in the request, for messages: "sampling_params.output_format.json_schema".
};

// A format of kind kFrames, whose schemas are JSON, as a structural tag of xgrammar's: JSON text. At most so many
// characters of white space come one after the other.
std::string StructuralTag(const OutputFormat& format, int max_whitespace);

}  // namespace quire
