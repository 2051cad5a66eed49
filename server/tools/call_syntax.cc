#include "server/tools/call_syntax.h"

#include <algorithm>
#include <iterator>

namespace quire {
namespace {

// Of those whose marks are in a template the first is taken: what is more particular stands first.
const CallSyntax kSyntaxes[] = {
    {.name = "deepseek",
     .template_marks = {"<｜tool▁calls▁begin｜>", "<｜tool▁call▁begin｜>"},
     .openers = {"<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>", "<｜tool▁call▁begin｜>"},
     .form = CallForm::kNamed,
     .closers = {"```<｜tool▁call▁end｜>", "<｜tool▁call▁end｜>", "<｜tool▁calls▁end｜>"}},
    {.name = "granite",
     .template_marks = {"<|tool_call|>"},
     .openers = {"<|tool_call|>", "<tool_call>"},
     .list = true,
     .closers = {"</tool_call>"}},
    {.name = "mistral",
     .template_marks = {"[TOOL_CALLS]"},
     .openers = {"[TOOL_CALLS]"},
     .list = true,
     .form = CallForm::kNamed,
     .short_ids = true},
    {.name = "hermes",
     .template_marks = {"<tool_call>"},
     .openers = {"<tool_call>"},
     .closers = {"</tool_call>"},
     .envelope = CallSyntax::Envelope{"<tool_call>\n{\"name\": ", ", \"arguments\": ", "}\n</tool_call>", "\n"}},
    {.name = "pythonic",
     .template_marks = {"<|python_start|>", "func_name1(params_name1"},
     .openers = {"<|python_start|>"},
     .bare = '[',
     .list = true,
     .form = CallForm::kPython,
     .closers = {"<|python_end|>"}},
    {.name = "llama3_json",
     .template_marks = {"<|python_tag|>", "Environment: ipython", "\"parameters\": "},
     .openers = {"<|python_tag|>"},
     .bare = '{',
     .separator = ';',
     .envelope = CallSyntax::Envelope{"{\"name\": ", ", \"parameters\": ", "}", "; "}},
};

}  // namespace

const CallSyntax kPlainCallSyntax = {
    .name = "plain",
    .bare = '[',
    .list = true,
    .envelope = CallSyntax::Envelope{"{\"name\": ", ", \"arguments\": ", "}", ", ", "[", "]"},
};

std::vector<std::string> CallSyntaxNames() {
  std::vector<std::string> names;
  for (const CallSyntax& syntax : kSyntaxes) names.emplace_back(syntax.name);
  return names;
}

const CallSyntax* FindCallSyntax(std::string_view name, std::string_view chat_template) {
  const auto fits = [&](const CallSyntax& syntax) {
    if (name != "auto") return syntax.name == name;
    return std::any_of(syntax.template_marks.begin(), syntax.template_marks.end(),
                       [&](std::string_view mark) { return chat_template.find(mark) != std::string_view::npos; });
  };
  const auto* found = std::find_if(std::begin(kSyntaxes), std::end(kSyntaxes), fits);
  return found == std::end(kSyntaxes) ? nullptr : found;
}

}  // namespace quire
