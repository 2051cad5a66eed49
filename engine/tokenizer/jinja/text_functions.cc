#include "engine/tokenizer/jinja/text_functions.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/types/status_macros.h"
#include "engine/types/string_view.h"

namespace quire::jinja {
namespace {

constexpr std::string_view kSpace = " \t\n\r\v\f";

absl::StatusOr<std::string> RequireText(const Arguments& arguments, size_t index, std::string_view name) {
  const Value value = arguments.Get(index, name);
  if (value.AsString()) return *value.AsString();
  return absl::InvalidArgumentError(
      absl::StrCat("the argument \"", AbslView(name), "\" must be a string, not ", value.TypeName()));
}

// How often split and replace may act: the argument, or without bound.
absl::StatusOr<int64_t> Count(const Arguments& arguments, size_t index, std::string_view name) {
  const Value value = arguments.Get(index, name);
  if (value.Is<Undefined>()) return INT64_MAX;
  if (!value.IsIntegral())
    return absl::InvalidArgumentError(absl::StrCat("the argument \"", AbslView(name), "\" must be an integer"));
  return value.Integer() < 0 ? INT64_MAX : value.Integer();
}

absl::Status AddPiece(std::string_view piece, Budget& budget, std::vector<Value>& pieces) {
  ASSIGN_OR_RETURN(pieces.emplace_back(), Value::MakeString(std::string(piece), budget));
  return absl::OkStatus();
}

absl::Status SplitAtSpace(std::string_view text, int64_t max_splits, Budget& budget, std::vector<Value>& pieces) {
  for (;;) {
    text = StripText(text, /*left=*/true, /*right=*/false, nullptr);
    const size_t end = std::min(text.find_first_of(kSpace), text.size());
    if (text.empty()) return absl::OkStatus();
    if (max_splits-- <= 0 || end == text.size()) {
      return AddPiece(StripText(text, /*left=*/false, /*right=*/true, nullptr), budget, pieces);
    }
    RETURN_IF_ERROR(AddPiece(text.substr(0, end), budget, pieces));
    text.remove_prefix(end);
  }
}

absl::StatusOr<Value> Split(std::string_view text, const Arguments& arguments, bool from_right, Budget& budget) {
  ASSIGN_OR_RETURN(int64_t max_splits, Count(arguments, 1, "maxsplit"));
  std::vector<Value> pieces;
  const Value separator_value = arguments.Get(0, "sep");
  if (separator_value.Is<Undefined>() || separator_value.Is<None>()) {
    if (from_right && max_splits != INT64_MAX) return absl::InvalidArgumentError("rsplit needs a separator");
    RETURN_IF_ERROR(SplitAtSpace(text, max_splits, budget, pieces));
    return Value::MakeList(std::move(pieces), budget);
  }
  ASSIGN_OR_RETURN(const std::string separator, RequireText(arguments, 0, "sep"));
  if (separator.empty()) return absl::InvalidArgumentError("split needs a separator that is not empty");
  RETURN_IF_ERROR(budget.Charge(text.size() + separator.size()));
  for (; max_splits > 0; --max_splits) {
    const size_t at = from_right ? text.rfind(separator) : text.find(separator);
    if (at == std::string_view::npos) break;
    const size_t after = at + separator.size();
    RETURN_IF_ERROR(AddPiece(from_right ? text.substr(after) : text.substr(0, at), budget, pieces));
    text = from_right ? text.substr(0, at) : text.substr(after);
  }
  RETURN_IF_ERROR(AddPiece(text, budget, pieces));
  if (from_right) std::reverse(pieces.begin(), pieces.end());
  return Value::MakeList(std::move(pieces), budget);
}

absl::StatusOr<Value> SplitLines(std::string_view text, Budget& budget) {
  std::vector<Value> lines;
  while (!text.empty()) {
    const size_t end = std::min(text.find_first_of("\n\r"), text.size());
    RETURN_IF_ERROR(AddPiece(text.substr(0, end), budget, lines));
    text.remove_prefix(std::min(text.size(), end + (text.substr(end, 2) == "\r\n" ? 2 : 1)));
  }
  return Value::MakeList(std::move(lines), budget);
}

// startswith and endswith: the argument is a string, or a list of which one must fit.
absl::StatusOr<Value> FitsAtEnd(std::string_view text, const Value& affix, bool front, Budget& budget) {
  const auto fits = [&](const std::string& one) { return front ? text.starts_with(one) : text.ends_with(one); };
  if (affix.AsString()) return Value(fits(*affix.AsString()));
  if (affix.AsList() == nullptr) return absl::InvalidArgumentError("startswith and endswith take a string or a list");
  RETURN_IF_ERROR(budget.Charge(affix.AsList()->items.size() * (1 + text.size())));
  for (const Value& item : affix.AsList()->items) {
    if (item.AsString() && fits(*item.AsString())) return Value(true);
  }
  return Value(false);
}

absl::StatusOr<Value> Strip(const std::string& text, bool left, bool right, const Arguments& arguments,
                            Budget& budget) {
  const Value characters = arguments.Get(0, "chars");
  const size_t set_size = characters.AsString() ? characters.AsString()->size() : 1;
  RETURN_IF_ERROR(budget.Charge(std::min(text.size(), size_t{1} << 32) * set_size));
  return Value::MakeString(std::string(StripText(text, left, right, characters.AsString())), budget);
}

// Where a text first occurs, in characters (-1: nowhere), or how often.
absl::StatusOr<Value> FindText(std::string_view method, const std::string& text, const Arguments& arguments,
                               Budget& budget) {
  ASSIGN_OR_RETURN(const std::string sought, RequireText(arguments, 0, "sub"));
  if (sought.empty()) return absl::InvalidArgumentError("find and count need something to look for");
  RETURN_IF_ERROR(budget.Charge(text.size() + sought.size()));
  const size_t at = text.find(sought);
  if (method == "find") {
    if (at == std::string::npos) return Value(int64_t{-1});
    return Value(std::count_if(text.begin(), text.begin() + at, [](char byte) { return (byte & 0xC0) != 0x80; }));
  }
  int64_t count = 0;
  for (size_t next = at; next != std::string::npos; next = text.find(sought, next + sought.size())) ++count;
  return Value(count);
}

// "%-5.2f" and the like.
struct Conversion {
  bool left = false;   // "-": pads on the right.
  bool zeros = false;  // "0": pads numbers with zeros.
  int width = 0;
  int precision = -1;  // -1: none is given.
  char kind = 0;
};

// Takes what follows a "%".
absl::StatusOr<Conversion> TakeConversion(std::string_view& text) {
  constexpr int kMax = 99;
  Conversion conversion;
  const auto number = [&] {
    int value = 0;
    for (; !text.empty() && absl::ascii_isdigit(text[0]) && value <= kMax; text.remove_prefix(1))
      value = 10 * value + (text[0] - '0');
    return value;
  };
  for (; text.starts_with('-') || text.starts_with('0'); text.remove_prefix(1))
    (text[0] == '-' ? conversion.left : conversion.zeros) = true;
  conversion.width = number();
  if (text.starts_with('.')) {
    text.remove_prefix(1);
    conversion.precision = number();
  }
  if (text.empty() || std::string_view("sdf%").find(text[0]) == std::string_view::npos || conversion.width > kMax ||
      conversion.precision > kMax) {
    return absl::InvalidArgumentError(
        "format knows %s, %d, %f and %%, with at most two digits before and after a point");
  }
  conversion.kind = text[0];
  text.remove_prefix(1);
  return conversion;
}

absl::StatusOr<std::string> Convert(const Conversion& conversion, const Value& value, Budget& budget) {
  if (conversion.kind != 's' && !value.IsNumber())
    return absl::InvalidArgumentError("format was to write as a number what is none");
  std::string text;
  if (conversion.kind == 's') {
    TextBuilder builder(budget);
    RETURN_IF_ERROR(AppendText(value, builder));
    text = builder.Take();
    if (conversion.precision >= 0) text.resize(std::min<size_t>(text.size(), conversion.precision));
  } else if (conversion.kind == 'd') {
    text = absl::StrFormat("%.0f", std::trunc(value.Float()));
  } else {
    text = absl::StrFormat("%.*f", conversion.precision < 0 ? 6 : conversion.precision, value.Float());
  }
  const size_t missing = std::max(0, conversion.width - static_cast<int>(text.size()));
  if (conversion.left) return text + std::string(missing, ' ');
  const bool zeros = conversion.zeros && conversion.kind != 's';
  return text.insert(zeros && text.starts_with('-'), missing, zeros ? '0' : ' ');
}

absl::StatusOr<Value> JoinWith(const std::string& separator, const Arguments& arguments, Budget& budget) {
  return ApplyFilter("join", arguments.Get(0, "iterable"),
                     {.positional = {std::make_shared<const std::string>(separator)}}, budget);
}

}  // namespace

std::string_view StripText(std::string_view text, bool left, bool right, const std::string* characters) {
  const std::string_view set = characters == nullptr ? kSpace : std::string_view(*characters);
  const size_t begin = left ? std::min(text.find_first_not_of(set), text.size()) : 0;
  text.remove_prefix(begin);
  return right ? text.substr(0, text.find_last_not_of(set) + 1) : text;
}

std::string UpperText(std::string_view text) { return absl::AsciiStrToUpper(AbslView(text)); }
std::string LowerText(std::string_view text) { return absl::AsciiStrToLower(AbslView(text)); }

std::string TitleText(std::string_view text) {
  std::string title = LowerText(text);
  for (size_t i = 0; i < title.size(); ++i) {
    if (i == 0 || !absl::ascii_isalpha(title[i - 1])) title[i] = absl::ascii_toupper(title[i]);
  }
  return title;
}

std::string CapitalizeText(std::string_view text) {
  std::string capitalized = LowerText(text);
  if (!capitalized.empty()) capitalized[0] = absl::ascii_toupper(capitalized[0]);
  return capitalized;
}

absl::StatusOr<std::vector<size_t>> CharacterBounds(std::string_view text, Budget& budget) {
  RETURN_IF_ERROR(budget.Charge(text.size() * sizeof(size_t)));
  std::vector<size_t> bounds;
  for (size_t i = 0; i < text.size(); ++i) {
    if ((text[i] & 0xC0) != 0x80) bounds.push_back(i);
  }
  bounds.push_back(text.size());
  return bounds;
}

absl::StatusOr<Value> ReplaceText(const std::string& text, const Arguments& arguments, Budget& budget) {
  ASSIGN_OR_RETURN(const std::string from, RequireText(arguments, 0, "old"));
  ASSIGN_OR_RETURN(const std::string to, RequireText(arguments, 1, "new"));
  ASSIGN_OR_RETURN(int64_t count, Count(arguments, 2, "count"));
  if (from.empty()) return absl::InvalidArgumentError("replace needs something to replace");
  RETURN_IF_ERROR(budget.Charge(text.size() + from.size()));
  TextBuilder out(budget);
  size_t begin = 0;
  for (; count > 0; --count) {
    const size_t at = text.find(from, begin);
    if (at == std::string::npos) break;
    RETURN_IF_ERROR(out.Append(std::string_view(text).substr(begin, at - begin)));
    RETURN_IF_ERROR(out.Append(to));
    begin = at + from.size();
  }
  RETURN_IF_ERROR(out.Append(std::string_view(text).substr(begin)));
  return Value::MakeString(out.Take(), budget);
}

absl::StatusOr<Value> FormatText(std::string_view text, const Arguments& arguments, Budget& budget) {
  TextBuilder out(budget);
  size_t next_argument = 0;
  for (;;) {
    const size_t percent = text.find('%');
    RETURN_IF_ERROR(out.Append(text.substr(0, percent)));
    if (percent == std::string_view::npos) return Value::MakeString(out.Take(), budget);
    text.remove_prefix(percent + 1);
    Conversion conversion;
    ASSIGN_OR_RETURN(conversion, TakeConversion(text));
    if (conversion.kind == '%') {
      RETURN_IF_ERROR(out.Append("%"));
      continue;
    }
    if (next_argument == arguments.positional.size()) return absl::InvalidArgumentError("format lacks an argument");
    ASSIGN_OR_RETURN(const std::string shown, Convert(conversion, arguments.positional[next_argument++], budget));
    RETURN_IF_ERROR(out.Append(shown));
  }
}

absl::StatusOr<Value> CallTextMethod(std::string_view name, const std::string& text, const Arguments& arguments,
                                     Budget& budget) {
  if (name == "strip") return Strip(text, true, true, arguments, budget);
  if (name == "lstrip") return Strip(text, true, false, arguments, budget);
  if (name == "rstrip") return Strip(text, false, true, arguments, budget);
  if (name == "split") return Split(text, arguments, /*from_right=*/false, budget);
  if (name == "rsplit") return Split(text, arguments, /*from_right=*/true, budget);
  if (name == "splitlines") return SplitLines(text, budget);
  if (name == "replace") return ReplaceText(text, arguments, budget);
  if (name == "join") return JoinWith(text, arguments, budget);
  if (name == "upper") return Value::MakeString(UpperText(text), budget);
  if (name == "lower") return Value::MakeString(LowerText(text), budget);
  if (name == "title") return Value::MakeString(TitleText(text), budget);
  if (name == "capitalize") return Value::MakeString(CapitalizeText(text), budget);
  if (name == "startswith") return FitsAtEnd(text, arguments.Get(0, "prefix"), /*front=*/true, budget);
  if (name == "endswith") return FitsAtEnd(text, arguments.Get(0, "suffix"), /*front=*/false, budget);
  if (name == "find" || name == "count") return FindText(name, text, arguments, budget);
  if (name == "removeprefix" || name == "removesuffix") {
    ASSIGN_OR_RETURN(const std::string affix, RequireText(arguments, 0, "prefix"));
    std::string_view rest = text;
    if (name == "removeprefix" && rest.starts_with(affix)) rest.remove_prefix(affix.size());
    if (name == "removesuffix" && rest.ends_with(affix)) rest.remove_suffix(affix.size());
    return Value::MakeString(std::string(rest), budget);
  }
  return absl::InvalidArgumentError(absl::StrCat("a string has no method \"", AbslView(name), "\""));
}

}  // namespace quire::jinja
