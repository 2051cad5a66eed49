#include "server/tools/json_scanner.h"

#include "absl/strings/ascii.h"
#include "engine/types/json.h"

namespace quire {
namespace {

bool IsSpace(char byte) { return byte == ' ' || byte == '\n' || byte == '\t' || byte == '\r'; }

}  // namespace

Scan JsonScanner::Push(char byte) {
  switch (expect_) {
    case Expect::kString:
    case Expect::kEscape:
    case Expect::kHex:
      return PushString(byte);
    case Expect::kWord:
      if (byte != word_rest_[0]) return Scan::kBroken;
      word_rest_.remove_prefix(1);
      return word_rest_.empty() ? EndValue() : Scan::kTaken;
    case Expect::kNumber:
      return PushNumber(byte);
    default:
      break;
  }
  if (IsSpace(byte)) return Scan::kTaken;
  switch (expect_) {
    case Expect::kValueOrEnd:
      return byte == ']' ? Close(byte) : BeginValue(byte);
    case Expect::kKeyOrEnd:
    case Expect::kKey:
      if (byte == '}' && expect_ == Expect::kKeyOrEnd) return Close(byte);
      if (byte != '"') return Scan::kBroken;
      is_key_ = true;
      expect_ = Expect::kString;
      return Scan::kTaken;
    case Expect::kColon:
      if (byte != ':') return Scan::kBroken;
      expect_ = Expect::kValue;
      return Scan::kTaken;
    case Expect::kCommaOrEnd:
      if (byte != ',') return Close(byte);
      expect_ = open_.back() == '{' ? Expect::kKey : Expect::kValue;
      return Scan::kTaken;
    default:
      return BeginValue(byte);
  }
}

Scan JsonScanner::BeginValue(char byte) {
  constexpr std::string_view kWords[] = {"true", "false", "null"};
  if (byte == '{' || byte == '[') return Open(byte);
  if (byte == '"') {
    is_key_ = false;
    expect_ = Expect::kString;
    return Scan::kTaken;
  }
  for (const std::string_view word : kWords) {
    if (byte != word[0]) continue;
    word_rest_ = word.substr(1);
    expect_ = Expect::kWord;
    return Scan::kTaken;
  }
  if (byte != '-' && !absl::ascii_isdigit(byte)) return Scan::kBroken;
  expect_ = Expect::kNumber;
  number_ = byte == '-' ? Number::kMinus : byte == '0' ? Number::kZero : Number::kInteger;
  return Scan::kTaken;
}

Scan JsonScanner::Open(char byte) {
  if (open_.size() == kMaxJsonDepth) return Scan::kBroken;
  open_.push_back(byte);
  expect_ = byte == '{' ? Expect::kKeyOrEnd : Expect::kValueOrEnd;
  return Scan::kTaken;
}

Scan JsonScanner::Close(char byte) {
  if (byte != (open_.back() == '{' ? '}' : ']')) return Scan::kBroken;
  open_.pop_back();
  return EndValue();
}

Scan JsonScanner::EndValue() {
  expect_ = Expect::kCommaOrEnd;
  return open_.empty() ? Scan::kLast : Scan::kTaken;
}

Scan JsonScanner::PushString(char byte) {
  if (expect_ == Expect::kHex) {
    if (!absl::ascii_isxdigit(byte)) return Scan::kBroken;
    if (--hex_digits_ == 0) expect_ = Expect::kString;
  } else if (expect_ == Expect::kEscape) {
    if (std::string_view("\"\\/bfnrtu").find(byte) == std::string_view::npos) return Scan::kBroken;
    hex_digits_ = 4;
    expect_ = byte == 'u' ? Expect::kHex : Expect::kString;
  } else if (byte == '\\') {
    expect_ = Expect::kEscape;
  } else if (byte == '"') {
    if (!is_key_) return EndValue();
    expect_ = Expect::kColon;
  } else if (static_cast<unsigned char>(byte) < 0x20) {
    return Scan::kBroken;
  }
  return Scan::kTaken;
}

bool JsonScanner::NumberMayEnd() const {
  return number_ == Number::kZero || number_ == Number::kInteger || number_ == Number::kFraction ||
         number_ == Number::kExponentDigits;
}

Scan JsonScanner::PushNumber(char byte) {
  const auto go = [this](Number next) {
    number_ = next;
    return Scan::kTaken;
  };
  const bool digit = absl::ascii_isdigit(byte);
  switch (number_) {
    case Number::kMinus:
      if (digit) return go(byte == '0' ? Number::kZero : Number::kInteger);
      break;
    case Number::kInteger:
      if (digit) return Scan::kTaken;
      [[fallthrough]];
    case Number::kZero:
      if (byte == '.') return go(Number::kPoint);
      if (byte == 'e' || byte == 'E') return go(Number::kExponent);
      break;
    case Number::kPoint:
      if (digit) return go(Number::kFraction);
      break;
    case Number::kFraction:
      if (digit) return Scan::kTaken;
      if (byte == 'e' || byte == 'E') return go(Number::kExponent);
      break;
    case Number::kExponent:
      if (byte == '+' || byte == '-') return go(Number::kExponentSign);
      [[fallthrough]];
    case Number::kExponentSign:
    case Number::kExponentDigits:
      if (digit) return go(Number::kExponentDigits);
      break;
  }
  if (!NumberMayEnd()) return Scan::kBroken;
  expect_ = Expect::kCommaOrEnd;
  return open_.empty() ? Scan::kAfter : Push(byte);
}

}  // namespace quire
