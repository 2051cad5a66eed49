// What a request may demand of the shape of its answer.
#pragma once

#include <string>
#include <vector>

namespace quire {

struct OutputFormat {
  enum class Kind {
    kFree,        // Whatever the model says.
    kJsonObject,  // Any JSON object.
    kJsonSchema,  // JSON that the schema in `source` accepts.
    kRegex,       // A text that the regular expression in `source` matches from end to end.
    kGrammar,     // A text that the EBNF grammar in `source` (rule `root`) derives.
    kChoice,      // One of `choices`, to the letter.
  };
  Kind kind = Kind::kFree;
  std::string source;
  std::vector<std::string> choices;
};

}  // namespace quire
