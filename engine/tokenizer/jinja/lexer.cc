#include "engine/tokenizer/jinja/lexer.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "engine/tokenizer/utf8.h"
#include "engine/types/status_macros.h"
#include "engine/types/string_view.h"

namespace quire::jinja {
namespace {

constexpr std::string_view kOperators[] = {"**", "//", "==", "!=", "<=", ">=", "<", ">", "=", "+", "-", "*", "/",
                                           "%",  "~",  "(",  ")",  "[",  "]",  "{", "}", ",", ".", ":", "|"};

void AppendCodePoint(uint32_t code_point, std::string& out) {
  const auto tail = [&](int shift) { out.push_back(static_cast<char>(0x80 | (code_point >> shift & 0x3F))); };
  if (code_point < 0x80) {
    out.push_back(static_cast<char>(code_point));
  } else if (code_point < 0x800) {
    out.push_back(static_cast<char>(0xC0 | code_point >> 6)), tail(0);
  } else if (code_point < 0x10000) {
    out.push_back(static_cast<char>(0xE0 | code_point >> 12)), tail(6), tail(0);
  } else {
    out.push_back(static_cast<char>(0xF0 | code_point >> 18)), tail(12), tail(6), tail(0);
  }
}

class Lexer {
 public:
  explicit Lexer(std::string source) : source_(std::move(source)) {}

  absl::StatusOr<std::vector<Token>> Run() {
    while (at_ < source_.size()) {
      RETURN_IF_ERROR(Text());
      if (at_ == source_.size()) break;
      RETURN_IF_ERROR(Tag());
    }
    Add(Token::kEnd, "");
    return std::move(tokens_);
  }

 private:
  absl::Status Error(const std::string& what) const {
    return absl::InvalidArgumentError(absl::StrCat("chat template, line ", line_, ": ", what));
  }
  void Add(Token::Kind kind, std::string text) { tokens_.push_back({kind, std::move(text), line_}); }
  void Advance(size_t end) {
    line_ += static_cast<int>(std::count(source_.begin() + at_, source_.begin() + end, '\n'));
    at_ = end;
  }
  bool StartsWith(std::string_view text) const { return source_.compare(at_, text.size(), text) == 0; }

  // Text up to the next tag, without the white space that the tag takes away.
  absl::Status Text() {
    size_t tag = at_;
    while ((tag = source_.find('{', tag)) != std::string::npos) {
      if (tag + 1 < source_.size() && std::string_view("{%#").find(source_[tag + 1]) != std::string_view::npos) break;
      ++tag;
    }
    tag = std::min(tag, source_.size());
    std::string text = source_.substr(at_, tag - at_);
    const char sign = tag + 2 < source_.size() ? source_[tag + 2] : '\0';
    if (tag < source_.size() && sign == '-') {
      absl::StripTrailingAsciiWhitespace(&text);
    } else if (tag < source_.size() && sign != '+' && source_[tag + 1] != '{') {
      StripIndent(text);
    }
    if (!text.empty()) Add(Token::kText, std::move(text));
    Advance(tag);
    return absl::OkStatus();
  }

  // lstrip_blocks: a tag takes the white space before it if there is nothing else on its line.
  void StripIndent(std::string& text) const {
    const size_t newline = text.rfind('\n');
    if (newline == std::string::npos && !at_line_start_) return;
    const size_t begin = newline == std::string::npos ? 0 : newline + 1;
    if (std::all_of(text.begin() + begin, text.end(), [](char c) { return absl::ascii_isspace(c); }))
      text.resize(begin);
  }

  absl::Status Tag() {
    const char kind = source_[at_ + 1];
    if (kind == '#') return Comment();
    Add(kind == '%' ? Token::kBlockBegin : Token::kOutputBegin, "");
    const bool signed_tag =
        at_ + 2 < source_.size() && (source_[at_ + 2] == '-' || (kind == '%' && source_[at_ + 2] == '+'));
    Advance(at_ + 2 + signed_tag);
    const std::string_view close = kind == '%' ? "%}" : "}}";
    int open_braces = 0;
    for (;;) {
      SkipSpace();
      if (at_ == source_.size()) return Error(absl::StrCat("a tag is not closed by ", AbslView(close)));
      const char sign = source_[at_];
      const bool closes = source_.compare(at_, 2, close) == 0 && open_braces == 0;
      const bool closes_signed =
          (sign == '-' || (kind == '%' && sign == '+')) && source_.compare(at_ + 1, 2, close) == 0;
      if (closes || closes_signed) {
        Add(kind == '%' ? Token::kBlockEnd : Token::kOutputEnd, "");
        EndTag(at_ + 2 + closes_signed, closes_signed ? sign : '\0', kind);
        return absl::OkStatus();
      }
      if (sign == '{') ++open_braces;
      if (sign == '}') --open_braces;
      RETURN_IF_ERROR(InnerToken());
    }
  }

  absl::Status Comment() {
    const size_t close = source_.find("#}", at_ + 2);
    if (close == std::string::npos) return Error("a comment is not closed by #}");
    EndTag(close + 2, close > at_ + 2 ? source_[close - 1] : '\0', '#');
    return absl::OkStatus();
  }

  // "-" takes all white space after a tag away; else a block or comment takes one line end (trim_blocks).
  void EndTag(size_t end, char sign, char kind) {
    if (sign == '-') {
      while (end < source_.size() && absl::ascii_isspace(source_[end])) ++end;
    } else if (sign != '+' && kind != '{' && end < source_.size() && source_[end] == '\n') {
      ++end;
    }
    at_line_start_ = source_[end - 1] == '\n';
    Advance(end);
  }

  void SkipSpace() {
    size_t end = at_;
    while (end < source_.size() && absl::ascii_isspace(source_[end])) ++end;
    Advance(end);
  }

  absl::Status InnerToken() {
    const char first = source_[at_];
    if (first == '\'' || first == '"') return String(first);
    if (absl::ascii_isdigit(first)) return Number();
    if (absl::ascii_isalpha(first) || first == '_') {
      Add(Token::kName, Run([](char c) { return absl::ascii_isalnum(c) || c == '_'; }));
      return absl::OkStatus();
    }
    for (const std::string_view op : kOperators) {
      if (!StartsWith(op)) continue;
      Add(Token::kOperator, std::string(op));
      Advance(at_ + op.size());
      return absl::OkStatus();
    }
    return Error(absl::ascii_isprint(first) ? absl::StrCat("unexpected character '", std::string(1, first), "'")
                                            : "unexpected character");
  }

  template <typename Predicate>
  std::string Run(Predicate predicate) {
    size_t end = at_;
    while (end < source_.size() && predicate(source_[end])) ++end;
    std::string run = source_.substr(at_, end - at_);
    Advance(end);
    return run;
  }

  absl::Status Number() {
    std::string digits = Run([](char c) { return absl::ascii_isdigit(c) || c == '_'; });
    const bool is_float = at_ + 1 < source_.size() && source_[at_] == '.' && absl::ascii_isdigit(source_[at_ + 1]);
    if (is_float) {
      Advance(at_ + 1);
      digits += '.';
      digits += Run(absl::ascii_isdigit);
    }
    digits.erase(std::remove(digits.begin(), digits.end(), '_'), digits.end());
    int64_t integer;
    double real;
    const bool fits = is_float ? absl::SimpleAtod(digits, &real) : absl::SimpleAtoi(digits, &integer);
    if (!fits) return Error(absl::StrCat("the number ", digits.substr(0, 40), " is too large"));
    Add(is_float ? Token::kFloat : Token::kInteger, std::move(digits));
    return absl::OkStatus();
  }

  absl::Status String(char quote) {
    std::string text;
    size_t end = at_ + 1;
    while (end < source_.size() && source_[end] != quote) {
      if (source_[end] == '\\' && end + 1 < source_.size()) {
        end = Escape(end + 1, text);
      } else {
        text.push_back(source_[end++]);
      }
    }
    if (end == source_.size()) return Error("a string is not closed");
    Add(Token::kString, std::move(text));
    Advance(end + 1);
    return absl::OkStatus();
  }

  // Appends what the escape at `at`, after its backslash, stands for; returns where it ends.
  size_t Escape(size_t at, std::string& text) const {
    constexpr std::string_view kNames = "ntrbfav0\\'\"", kValues("\n\t\r\b\f\a\v\0\\'\"", 11);
    const char name = source_[at];
    if (const size_t index = kNames.find(name); index != std::string_view::npos) {
      text.push_back(kValues[index]);
      return at + 1;
    }
    const size_t num_digits = name == 'x' ? 2 : name == 'u' ? 4 : name == 'U' ? 8 : 0;
    uint32_t code_point;
    if (num_digits > 0 && at + num_digits < source_.size() &&
        absl::SimpleHexAtoi(source_.substr(at + 1, num_digits), &code_point) && code_point <= 0x10FFFF &&
        (code_point < 0xD800 || code_point > 0xDFFF)) {
      AppendCodePoint(code_point, text);
      return at + 1 + num_digits;
    }
    text.push_back('\\');  // As Python keeps an escape that it does not know.
    text.push_back(name);
    return at + 1;
  }

  const std::string source_;
  size_t at_ = 0;
  int line_ = 1;
  bool at_line_start_ = true;  // Whether the last tag, or nothing, left off at the start of a line.
  std::vector<Token> tokens_;
};

}  // namespace

absl::StatusOr<std::vector<Token>> Tokenize(std::string_view source) {
  if (FindInvalidUtf8(source)) return absl::InvalidArgumentError("the chat template is not valid UTF-8");
  std::string text = absl::StrReplaceAll(AbslView(source), {{"\r\n", "\n"}, {"\r", "\n"}});
  if (!text.empty() && text.back() == '\n') text.pop_back();
  return Lexer(std::move(text)).Run();
}

}  // namespace quire::jinja
