// Follows one JSON value byte by byte, as a model writes it, and tells where it ends.
#pragma once

#include <string>
#include <string_view>

namespace quire {

enum class Scan {
  kTaken,   // The byte belongs to the value, which goes on.
  kLast,    // The byte is the value's last.
  kAfter,   // The value, a number, had ended before this byte.
  kBroken,  // No value goes on with this byte.
};

// Memory is bounded: nesting beyond kMaxJsonDepth is kBroken.
class JsonScanner {
 public:
  // REQUIRES: all calls so far gave kTaken. Leading white space is kTaken.
  Scan Push(char byte);

 private:
  enum class Expect {
    kValue,
    kValueOrEnd,
    kKeyOrEnd,
    kKey,
    kColon,
    kCommaOrEnd,
    kString,
    kEscape,
    kHex,
    kWord,
    kNumber
  };
  enum class Number { kMinus, kZero, kInteger, kPoint, kFraction, kExponent, kExponentSign, kExponentDigits };

  Scan BeginValue(char byte);
  Scan Open(char byte);
  Scan Close(char byte);
  Scan EndValue();
  Scan PushString(char byte);
  Scan PushNumber(char byte);
  bool NumberMayEnd() const;

  Expect expect_ = Expect::kValue;
  std::string open_;            // The brackets that are open.
  bool is_key_ = false;         // Of the string being read.
  int hex_digits_ = 0;          // Missing from an escape.
  std::string_view word_rest_;  // Of true, false or null.
  Number number_ = Number::kMinus;
};

}  // namespace quire
