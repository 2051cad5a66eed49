#include "server/tools/tool_call_parser.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "engine/types/json.h"
#include "engine/types/sequence.h"
#include "kernels/check.h"

namespace quire {
namespace {

// What may be held back until it is known to be a call or not.
constexpr size_t kMaxHeld = 64 << 10;
constexpr size_t kMaxNameBytes = 256;

struct Found {
  size_t at = 0;    // Where a marker begins, or may begin.
  size_t size = 0;  // Of a whole one; 0: the text ends within it.
};

// The first place in `text` where one of `markers` begins; the end if there is none.
Found FindMarker(std::string_view text, const std::vector<std::string_view>& markers, bool text_goes_on) {
  Found first{text.size(), 0};
  for (const std::string_view marker : markers) {
    const size_t at = text.find(marker);
    if (at < first.at || (at == first.at && marker.size() > first.size)) first = {at, marker.size()};
  }
  if (!text_goes_on) return first;
  for (const std::string_view marker : markers) {
    const size_t longest = std::min(text.size(), marker.size() - 1);
    for (size_t size = longest; size > text.size() - first.at; --size) {
      if (text.ends_with(marker.substr(0, size))) first = {text.size() - size, 0};
    }
  }
  return first;
}

// The name in what stands between an opener and the arguments of a kNamed call; empty if there is none.
std::string_view NameIn(std::string_view header) {
  constexpr std::string_view kType = "function<｜tool▁sep｜>";
  constexpr std::string_view kEnds[] = {"[CALL_ID]", "[ARGS]", "<｜tool▁sep｜>", "```json"};
  if (header.starts_with(kType)) header.remove_prefix(kType.size());
  for (const std::string_view end : kEnds) header = header.substr(0, header.find(end));
  while (!header.empty() && absl::ascii_isspace(header.back())) header.remove_suffix(1);
  const bool valid = std::all_of(header.begin(), header.end(), [](char byte) {
    return absl::ascii_isalnum(byte) || byte == '_' || byte == '-' || byte == '.';
  });
  return valid ? header : std::string_view();
}

}  // namespace

void Append(AnswerPiece piece, std::vector<AnswerPiece>& pieces) {
  if (pieces.empty() || pieces.back().call != piece.call) {
    pieces.push_back(std::move(piece));
  } else {
    pieces.back().text += piece.text;
  }
}

std::vector<AnswerPiece> ToolCallParser::Push(std::string_view text) {
  input_.append(text);
  return Run();
}

std::vector<AnswerPiece> ToolCallParser::Finish() {
  finished_ = true;
  std::vector<AnswerPiece> pieces = Run();
  if (num_calls_ == 0 && !space_.empty()) {  // An answer of nothing but white space.
    Emit(-1, std::exchange(space_, {}));
    pieces = std::exchange(pieces_, {});
  }
  return pieces;
}

std::vector<AnswerPiece> ToolCallParser::Run() {
  while (!input_.empty() && Step()) continue;
  return std::exchange(pieces_, {});
}

bool ToolCallParser::Step() {
  switch (where_) {
    case Where::kText:
      return StepText();
    case Where::kEnvelope:
      return StepEnvelope();
    case Where::kName:
      return StepName();
    case Where::kObject:
      return StepObject();
    case Where::kArguments:
      return StepArguments();
    case Where::kPython:
      return StepPython();
    case Where::kAfterCall:
      return StepAfterCall();
  }
  QUIRE_CHECK(false);
}

bool ToolCallParser::StepText() {
  if (gap_) {
    SkipSpace();
    space_ += input_.substr(0, at_);
    Consume(at_);
    if (input_.empty()) return false;
    if (syntax_.bare != 0 && input_[0] == syntax_.bare) return Open(0);
  }
  const Found opener = FindMarker(input_, syntax_.openers, /*text_goes_on=*/!finished_);
  if (opener.at > 0) {
    Emit(-1, std::string_view(input_).substr(0, opener.at));
    Consume(opener.at);
    gap_ = false;
  }
  return opener.size > 0 && Open(opener.size);
}

bool ToolCallParser::StepEnvelope() {
  SkipSpace();
  if (at_ == input_.size()) return Wait();
  const char byte = input_[at_];
  if (byte == '[' && syntax_.list && !in_list_) {
    in_list_ = true;
    ++at_;
    return true;
  }
  call_ = Call();
  call_.begin = at_;
  if (syntax_.form == CallForm::kPython) {
    where_ = Where::kPython;
    return in_list_ || Fail();
  }
  if (byte == '{') {
    where_ = Where::kObject;
  } else if (syntax_.form == CallForm::kNamed && !in_list_) {
    where_ = Where::kName;
  } else {
    return Fail();
  }
  return true;
}

bool ToolCallParser::StepName() {
  const std::string_view rest = std::string_view(input_).substr(at_);
  const size_t end = std::min(rest.find('{'), rest.size());
  if (end > kMaxNameBytes) return Fail();
  if (end == rest.size()) return Wait();
  call_.name = NameIn(rest.substr(0, end));
  if (call_.name.empty()) return Fail();
  at_ += end;
  Commit();
  where_ = Where::kArguments;
  return true;
}

bool ToolCallParser::StepObject() {
  while (at_ < input_.size()) {
    if (where_ != Where::kObject) return true;
    if (!TakeMemberByte(input_[at_])) return Fail();
  }
  return where_ != Where::kObject || Wait();
}

// False if no call goes on with `byte`.
bool ToolCallParser::TakeMemberByte(char byte) {
  const bool is_arguments = call_.key == "arguments" || call_.key == "parameters";
  const auto expect = [&](char wanted, Member next) {
    call_.member = byte == wanted ? next : call_.member;
    return byte == wanted || absl::ascii_isspace(byte);
  };
  const auto scan = [&](Member next) {
    const Scan result = call_.scanner.Push(byte);
    if (result == Scan::kBroken) return false;
    if (result != Scan::kAfter) ++at_;
    if (result == Scan::kTaken) return true;
    call_.member = next;
    return EndMember(std::string_view(input_).substr(call_.begin, at_ - call_.begin));
  };
  switch (call_.member) {
    case Member::kInKey:
      return scan(Member::kColon);
    case Member::kInValue:
      return scan(Member::kCommaOrEnd);
    case Member::kValue:
      if (absl::ascii_isspace(byte)) break;
      call_.scanner = JsonScanner();
      call_.begin = at_;
      call_.member = Member::kInValue;
      if (!is_arguments || byte != '{' || call_.name.empty() || call_.committed) return true;
      Commit();
      call_.member = Member::kCommaOrEnd;
      where_ = Where::kArguments;
      return true;
    case Member::kKeyOrEnd:
    case Member::kKey:
      if (byte != '"') {
        if (byte == '}' && call_.member == Member::kKeyOrEnd) return EndObject();
        if (!absl::ascii_isspace(byte)) return false;
        break;
      }
      call_.scanner = JsonScanner();
      call_.begin = at_;
      call_.member = Member::kInKey;
      return true;
    case Member::kBegin:
      if (!expect('{', Member::kKeyOrEnd)) return false;
      break;
    case Member::kColon:
      if (!expect(':', Member::kValue)) return false;
      break;
    case Member::kCommaOrEnd:
      if (byte == '}') return EndObject();
      if (!expect(',', Member::kKey)) return false;
      break;
  }
  ++at_;
  return true;
}

// A key or a value has been read.
bool ToolCallParser::EndMember(std::string_view raw) {
  const auto text_of = [&]() -> std::string {
    const absl::StatusOr<Json> text = ParseJson(raw);
    return text.ok() && text->is_string() ? text->get<std::string>() : std::string();
  };
  if (call_.member == Member::kColon) {
    call_.key = text_of();
    return true;
  }
  if (call_.committed) return true;
  if (call_.key == "name") {
    call_.name = text_of();
    return !call_.name.empty() && call_.name.size() <= kMaxNameBytes;
  }
  return (call_.key != "arguments" && call_.key != "parameters") || TakeArguments(raw);
}

// Arguments that came before the name, or in quotes once more.
bool ToolCallParser::TakeArguments(std::string_view raw) {
  absl::StatusOr<Json> value = ParseJson(raw);
  if (!value.ok()) return false;
  call_.arguments = value->is_string() ? value->get<std::string>() : std::string(raw);
  if (value->is_null()) call_.arguments = "{}";
  if (value->is_string()) value = ParseJson(call_.arguments);
  return value.ok() && (value->is_object() || value->is_null());
}

bool ToolCallParser::EndObject() {
  ++at_;
  if (!call_.committed) {
    if (call_.name.empty()) return false;
    const std::string arguments = call_.arguments.empty() ? "{}" : std::move(call_.arguments);
    Commit();
    Emit(num_calls_ - 1, arguments);
  }
  Consume(at_);
  where_ = Where::kAfterCall;
  return true;
}

bool ToolCallParser::StepArguments() {
  Scan result = Scan::kTaken;
  while (at_ < input_.size() && result == Scan::kTaken) {
    result = call_.scanner.Push(input_[at_]);
    if (result != Scan::kBroken) ++at_;
  }
  Emit(num_calls_ - 1, std::string_view(input_).substr(0, at_));
  Consume(at_);
  if (result == Scan::kTaken) return false;
  const bool in_object = result == Scan::kLast && call_.member == Member::kCommaOrEnd;
  where_ = in_object ? Where::kObject : Where::kAfterCall;
  return true;
}

bool ToolCallParser::StepPython() {
  while (at_ < input_.size()) {
    const Scan result = call_.python.Push(input_[at_]);
    if (result == Scan::kBroken) return Fail();
    ++at_;
    if (result == Scan::kTaken) continue;
    std::optional<PythonCall> call = ParsePythonCall(std::string_view(input_).substr(call_.begin, at_ - call_.begin));
    if (!call) return Fail();
    call_.name = std::move(call->name);
    Commit();
    Emit(num_calls_ - 1, call->arguments.dump());
    where_ = Where::kAfterCall;
    return true;
  }
  return Wait();
}

bool ToolCallParser::StepAfterCall() {
  SkipSpace();
  if (at_ == input_.size()) return false;
  const std::string_view rest = std::string_view(input_).substr(at_);
  const char separator = in_list_ ? ',' : syntax_.separator;
  if (separator != 0 && rest[0] == separator) {
    lead_ = ++at_;
    where_ = Where::kEnvelope;
    return true;
  }
  if (in_list_ && rest[0] == ']') {
    in_list_ = false;
    Consume(at_ + 1);
    return true;
  }
  const Found closer = in_list_ ? Found{rest.size(), 0} : FindMarker(rest, syntax_.closers, !finished_);
  if (closer.at == 0 && closer.size == 0) return false;
  if (closer.at == 0) {
    Consume(at_ + closer.size);
    return true;
  }
  at_ = 0;
  in_list_ = false;
  gap_ = true;
  where_ = Where::kText;
  return true;
}

// A call may begin at the front of input_, marked by `lead` bytes.
bool ToolCallParser::Open(size_t lead) {
  lead_ = at_ = lead;
  where_ = Where::kEnvelope;
  return true;
}

bool ToolCallParser::Wait() { return (finished_ || input_.size() > kMaxHeld) && Fail(); }

// What was taken for the beginning of a call is none; what is left of a call that was given out is looked at anew.
bool ToolCallParser::Fail() {
  if (where_ == Where::kObject && call_.committed) {
    Consume(at_);
    where_ = Where::kAfterCall;
    return true;
  }
  const size_t marker = std::max<size_t>(lead_, 1);
  Emit(-1, std::string_view(input_).substr(0, marker));
  Consume(marker);
  where_ = Where::kText;
  gap_ = false;
  in_list_ = false;
  return true;
}

void ToolCallParser::Commit() {
  space_.clear();
  gap_ = true;
  call_.committed = true;
  call_.scanner = JsonScanner();
  Consume(at_);
  pieces_.push_back({.call = num_calls_++, .id = MakeId(), .name = call_.name});
}

void ToolCallParser::Emit(int call, std::string_view text) {
  if (text.empty()) return;
  if (call < 0) Append({.text = std::exchange(space_, {})}, pieces_);
  Append({.call = call, .text = std::string(text)}, pieces_);
}

void ToolCallParser::Consume(size_t count) {
  input_.erase(0, count);
  at_ = 0;
}

void ToolCallParser::SkipSpace() {
  while (at_ < input_.size() && absl::ascii_isspace(input_[at_])) ++at_;
}

std::string ToolCallParser::MakeId() const {
  constexpr std::string_view kLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
  std::string id = syntax_.short_ids ? "" : "call_";
  const int num_letters = syntax_.short_ids ? 9 : 24;
  for (int i = 0; i < num_letters; ++i) {
    id += kLetters[SampleSeed(id_seed_, num_calls_ * num_letters + i + 1) % kLetters.size()];
  }
  return id;
}

}  // namespace quire
