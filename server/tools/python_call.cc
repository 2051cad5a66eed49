#include "server/tools/python_call.h"

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "engine/types/string_view.h"

namespace quire {
namespace {

bool IsNameByte(char byte) { return absl::ascii_isalnum(byte) || byte == '_' || byte == '.' || byte == '-'; }

// Recursive descent; every method takes what it reads from the front of the text, and gives nothing for a mistake.
class Parser {
 public:
  explicit Parser(std::string_view text) : rest_(text) {}

  std::optional<PythonCall> Call() {
    PythonCall call{.name = TakeName(), .arguments = Json::object()};
    if (call.name.empty() || !Take('(')) return std::nullopt;
    while (!Take(')')) {
      if (!call.arguments.empty() && !Take(',')) return std::nullopt;
      if (Take(')')) break;  // After a last comma.
      std::string key = TakeName();
      if (key.empty() || call.arguments.contains(key) || !Take('=')) return std::nullopt;
      std::optional<Json> value = Value();
      if (!value) return std::nullopt;
      call.arguments[std::move(key)] = *std::move(value);
    }
    if (!rest_.empty()) return std::nullopt;
    return call;
  }

 private:
  void SkipSpace() {
    while (!rest_.empty() && absl::ascii_isspace(rest_[0])) rest_.remove_prefix(1);
  }
  bool Take(char byte) {
    SkipSpace();
    if (!rest_.starts_with(byte)) return false;
    rest_.remove_prefix(1);
    return true;
  }
  template <typename Predicate>
  std::string TakeWhile(Predicate predicate) {
    SkipSpace();
    size_t size = 0;
    while (size < rest_.size() && predicate(rest_[size])) ++size;
    std::string taken(rest_.substr(0, size));
    rest_.remove_prefix(size);
    return taken;
  }
  std::string TakeName() { return TakeWhile(IsNameByte); }

  std::optional<Json> Value() {
    if (++depth_ > kMaxJsonDepth) return std::nullopt;
    SkipSpace();
    std::optional<Json> value;
    if (rest_.starts_with('"') || rest_.starts_with('\'')) {
      value = String();
    } else if (Take('[')) {
      value = List(']');
    } else if (Take('(')) {
      value = List(')');
    } else if (Take('{')) {
      value = Dict();
    } else {
      value = Word();
    }
    --depth_;
    return value;
  }

  std::optional<Json> List(char close) {
    Json list = Json::array();
    while (!Take(close)) {
      if (!list.empty() && !Take(',')) return std::nullopt;
      if (Take(close)) break;
      std::optional<Json> item = Value();
      if (!item) return std::nullopt;
      list.push_back(*std::move(item));
    }
    return list;
  }

  std::optional<Json> Dict() {
    Json dict = Json::object();
    while (!Take('}')) {
      if (!dict.empty() && !Take(',')) return std::nullopt;
      if (Take('}')) break;
      SkipSpace();
      const std::optional<Json> key = Value();
      if (!key || !key->is_string() || !Take(':')) return std::nullopt;
      std::optional<Json> value = Value();
      if (!value) return std::nullopt;
      dict[key->get<std::string>()] = *std::move(value);
    }
    return dict;
  }

  // The text between quotes, its escapes turned into JSON's, of which those of Python that are not are few.
  std::optional<Json> String() {
    const char quote = rest_[0];
    std::string json = "\"";
    size_t i = 1;
    for (; i < rest_.size() && rest_[i] != quote; ++i) {
      const char byte = rest_[i];
      if (byte == '"') {
        json += "\\\"";
      } else if (static_cast<unsigned char>(byte) < 0x20) {
        json += Json(std::string(1, byte)).dump().substr(1);
        json.pop_back();
      } else if (byte != '\\') {
        json += byte;
      } else if (++i < rest_.size()) {
        if (rest_[i] == 'x') {
          json += "\\u00";
        } else if (rest_[i] == '\'') {
          json += '\'';
        } else {
          (json += '\\') += rest_[i];
        }
      }
    }
    if (i >= rest_.size()) return std::nullopt;
    rest_.remove_prefix(i + 1);
    const absl::StatusOr<Json> text = ParseJson(json + "\"");
    if (!text.ok()) return std::nullopt;
    return *text;
  }

  std::optional<Json> Word() {
    const std::string word = TakeWhile([](char byte) { return IsNameByte(byte) || byte == '+'; });
    if (word == "True" || word == "true") return true;
    if (word == "False" || word == "false") return false;
    if (word == "None" || word == "null") return nullptr;
    if (absl::StatusOr<Json> number = ParseJson(word); number.ok() && number->is_number()) return *std::move(number);
    return std::nullopt;
  }

  std::string_view rest_;
  int depth_ = 0;
};

}  // namespace

Scan PythonCallScanner::Push(char byte) {
  if (in_name_) {
    if (absl::ascii_isspace(byte) && !has_name_) return Scan::kTaken;
    if (byte == '(' && has_name_) {
      in_name_ = false;
      open_.push_back(byte);
      return Scan::kTaken;
    }
    if (!IsNameByte(byte) || (!has_name_ && absl::ascii_isdigit(byte))) return Scan::kBroken;
    has_name_ = true;
    return Scan::kTaken;
  }
  if (quote_ != 0) {
    if (!escaped_ && byte == quote_) quote_ = 0;
    escaped_ = !escaped_ && byte == '\\';
    return Scan::kTaken;
  }
  if (byte == '"' || byte == '\'') quote_ = byte;
  if (byte == '(' || byte == '[' || byte == '{') {
    if (open_.size() == kMaxJsonDepth) return Scan::kBroken;
    open_.push_back(byte);
  }
  if (byte == ')' || byte == ']' || byte == '}') {
    if (open_.back() != (byte == ')' ? '(' : byte == ']' ? '[' : '{')) return Scan::kBroken;
    open_.pop_back();
    if (open_.empty()) return Scan::kLast;
  }
  return Scan::kTaken;
}

std::optional<PythonCall> ParsePythonCall(std::string_view text) { return Parser(text).Call(); }

}  // namespace quire
