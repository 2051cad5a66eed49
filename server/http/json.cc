#include "server/http/json.h"

#include <array>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "engine/types/status_macros.h"

namespace quire {
namespace {

constexpr int kMaxDepth = 64;
constexpr int kMaxValues = 1 << 20;
// Of keys with those before them in the same object, which is how the library finds keys that come twice.
constexpr int64_t kMaxKeyComparisons = 1 << 24;

// Where objects, lists and their elements begin and end, which can be told without parsing. What it finds is right for
// any text that is JSON, and means nothing for any other.
class ShapeCheck {
 public:
  absl::Status Check(std::string_view text) {
    bool in_string = false;
    for (size_t i = 0; i < text.size(); ++i) {
      const char c = text[i];
      if (in_string && c == '\\') ++i;
      if (c == '"') in_string = !in_string;
      if (in_string) continue;
      if (c == '[' || c == '{') Open(c == '{');
      if (c == ']' || c == '}') Close();
      if (c == ',') Next();
      if (depth_ > kMaxDepth) return TooMuch("is nested more than ", kMaxDepth, " deep");
      if (values_ > kMaxValues) return TooMuch("has more than ", kMaxValues, " values");
      if (comparisons_ > kMaxKeyComparisons) return TooMuch("has an object with more keys than ", 1024, " or so");
    }
    return absl::OkStatus();
  }

 private:
  struct Level {
    bool object;
    int keys;
  };

  static absl::Status TooMuch(const char* what, int limit, const char* of_what) {
    return absl::InvalidArgumentError(absl::StrCat("the body's JSON ", what, limit, of_what));
  }
  void Open(bool object) {
    if (++depth_ <= kMaxDepth) levels_[depth_] = {object, 1};
    ++values_;
  }
  void Close() {
    if (depth_ > 0) --depth_;
  }
  void Next() {
    ++values_;
    if (levels_[depth_].object) comparisons_ += levels_[depth_].keys++;
  }

  std::array<Level, kMaxDepth + 1> levels_{};  // By depth; 0 is outside of everything.
  int depth_ = 0;
  int values_ = 0;
  int64_t comparisons_ = 0;
};

}  // namespace

absl::StatusOr<Json> ParseJsonObject(std::string_view body) {
  RETURN_IF_ERROR(ShapeCheck().Check(body));
  try {
    Json json = Json::parse(body);
    if (json.is_object()) return json;
    return absl::InvalidArgumentError("the body must be a JSON object");
  } catch (const Json::exception& error) {
    // Of "[json.exception.parse_error.101] parse error at line 1, column 5: ...", what follows the bracket.
    const std::string_view what = error.what();
    const size_t end = what.find("] ");
    return absl::InvalidArgumentError(
        absl::StrCat("the body is not JSON: ", AbslView(end == what.npos ? what : what.substr(end + 2))));
  }
}

std::string ToText(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

HttpResponse JsonResponse(const Json& json) { return {.body = ToText(json)}; }

}  // namespace quire
