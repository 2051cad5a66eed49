// Any bytes as a model's answer, in every form of tool calls: what comes out does not depend on how they were cut, and
// without a call it is what went in.
#include <algorithm>
#include <cstdint>
#include <string>

#include "kernels/check.h"
#include "server/tools/tool_call_parser.h"

namespace {

using quire::AnswerPiece;

// Everything that came out, the kinds apart.
struct Answer {
  std::string text, calls;
  int num_calls = 0;

  void Add(const std::vector<AnswerPiece>& pieces) {
    for (const AnswerPiece& piece : pieces) {
      (piece.call < 0 ? text : calls) += piece.name + piece.id + piece.text;
    }
  }
};

Answer Parse(const quire::CallSyntax& syntax, std::string_view text, size_t cut) {
  quire::ToolCallParser parser(syntax, 1);
  Answer answer;
  for (; !text.empty(); text.remove_prefix(std::min(cut, text.size()))) answer.Add(parser.Push(text.substr(0, cut)));
  answer.Add(parser.Finish());
  answer.num_calls = parser.num_calls();
  return answer;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  for (const std::string& name : quire::CallSyntaxNames()) {
    const quire::CallSyntax& syntax = *quire::FindCallSyntax(name, "");
    const Answer whole = Parse(syntax, text, size + 1);
    for (const size_t cut : {size_t{1}, size_t{7}}) {
      const Answer pieces = Parse(syntax, text, cut);
      QUIRE_CHECK(pieces.text == whole.text && pieces.calls == whole.calls && pieces.num_calls == whole.num_calls);
    }
    QUIRE_CHECK(whole.num_calls > 0 || whole.text == text);
  }
  return 0;
}
