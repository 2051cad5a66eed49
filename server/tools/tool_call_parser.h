// ToolCallParser: finds the tool calls in what a model writes, while it writes it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "server/tools/call_syntax.h"
#include "server/tools/json_scanner.h"
#include "server/tools/python_call.h"

namespace quire {

// The next piece of an answer: plain text, or a part of a call.
struct AnswerPiece {
  int call = -1;                   // Which call of the answer; -1: plain text.
  std::string id = {}, name = {};  // On the first piece of a call.
  std::string text = {};           // More of the plain text, or of the call's arguments, which are JSON text.
};

// Adds a piece to those before it, as a part of the last one if it goes on with that.
void Append(AnswerPiece piece, std::vector<AnswerPiece>& pieces);

// What it gives out in all does not depend on how the answer was cut. Plain text passes as soon as it can be no
// beginning of a call; a call, as soon as its name is known and its arguments have begun. What turns out to be no call
// is plain text, to the byte; from the arguments' first byte on it is a call, whether or not they end as they should.
// White space around calls is dropped with what marks them. Memory is bounded.
class ToolCallParser {
 public:
  // `syntax` outlives the parser. Ids of calls follow from `id_seed`.
  ToolCallParser(const CallSyntax& syntax, uint64_t id_seed) : syntax_(syntax), id_seed_(id_seed) {}

  // The answer goes on with `text`. Neighbouring pieces are of different kinds.
  std::vector<AnswerPiece> Push(std::string_view text);
  // The answer is over.
  std::vector<AnswerPiece> Finish();

  int num_calls() const { return num_calls_; }

 private:
  enum class Where {
    kText,       // Looking for a call.
    kEnvelope,   // Before a call.
    kName,       // In the name of a kNamed call.
    kObject,     // In the object of a call, outside of arguments that are given out.
    kArguments,  // In those.
    kPython,     // In a Python call.
    kAfterCall,
  };
  enum class Member { kBegin, kKeyOrEnd, kKey, kInKey, kColon, kValue, kInValue, kCommaOrEnd };
  // What is known of the call being read.
  struct Call {
    Member member = Member::kBegin;
    JsonScanner scanner;  // Of the key, the value or the arguments.
    PythonCallScanner python;
    size_t begin = 0;  // Where in input_ that began.
    std::string key, name, arguments;
    bool committed = false;  // Its name is given out.
  };

  std::vector<AnswerPiece> Run();
  // Each goes on from input_[at_]; false if it needs more input.
  bool Step();
  bool StepText();
  bool StepEnvelope();
  bool StepName();
  bool StepObject();
  bool StepArguments();
  bool StepPython();
  bool StepAfterCall();

  bool TakeMemberByte(char byte);
  bool EndMember(std::string_view raw);
  bool TakeArguments(std::string_view raw);
  bool EndObject();

  bool Open(size_t lead);
  bool Wait();
  bool Fail();
  void Commit();
  void Emit(int call, std::string_view text);
  void Consume(size_t count);
  void SkipSpace();
  std::string MakeId() const;

  const CallSyntax& syntax_;
  const uint64_t id_seed_;

  Where where_ = Where::kText;
  std::string input_;  // Not given out yet.
  size_t at_ = 0;      // How much of it was looked at.
  size_t lead_ = 0;    // How much of it marks the beginning of the call being read.
  std::string space_;  // White space before input_, to be dropped if a call comes.
  bool gap_ = true;    // Nothing but white space since the beginning, or since a call.
  bool in_list_ = false;
  bool finished_ = false;
  int num_calls_ = 0;
  Call call_;
  std::vector<AnswerPiece> pieces_;  // To be given out.
};

}  // namespace quire
