// The forms in which models write tool calls, as data for ToolCallParser.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace quire {

enum class CallForm {
  kObject,  // {"name": "f", "arguments": {...}}, or "parameters"; other keys are passed over.
  kNamed,   // The name, and then the arguments' object.
  kPython,  // f(a=1, b="x")
};

// Calls stand behind an opener, in a list or on their own. White space may be anywhere between.
struct CallSyntax {
  std::string_view name;  // For --tool-call-parser.
  // A chat template with one of these in it is of a model that writes calls this way.
  std::vector<std::string_view> template_marks = {};
  std::vector<std::string_view> openers = {};
  // What a call begins with where an answer may begin with one without an opener; 0: it may not.
  char bare = 0;
  bool list = false;                           // "[call, call]" may stand for a call.
  CallForm form = CallForm::kObject;           // kNamed: or kObject, where a "{" follows.
  std::vector<std::string_view> closers = {};  // May follow a call or a list.
  char separator = 0;                          // Between calls that share an opener; 0: there are none such.
  bool short_ids = false;                      // Ids are of nine letters and digits.
  // How calls are written where they are enforced; none where openers are control tokens, which no text spells.
  struct Envelope {
    std::string_view before_name, after_name, end;  // Of one call: its arguments' object stands before `end`.
    std::string_view separator;                     // Between calls.
    std::string_view open = {}, close = {};         // Around all calls.
  };
  std::optional<Envelope> envelope = std::nullopt;
};

// A list of objects, for enforced calls of models whose own form cannot be enforced.
extern const CallSyntax kPlainCallSyntax;

// Names for --tool-call-parser besides "auto" and "none".
std::vector<std::string> CallSyntaxNames();
// `name` is one of those, "none", or "auto": then the chat template's text decides. Null for none.
const CallSyntax* FindCallSyntax(std::string_view name, std::string_view chat_template);

}  // namespace quire
