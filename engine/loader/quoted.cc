#include "engine/loader/quoted.h"

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "engine/types/string_view.h"

namespace quire {

std::string Quoted(std::string_view name) {
  constexpr size_t kShown = 80;
  return absl::StrCat("'", absl::CHexEscape(AbslView(name.substr(0, kShown))), name.size() > kShown ? "..." : "", "'");
}

}  // namespace quire
