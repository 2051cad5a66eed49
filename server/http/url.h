// The target of an HTTP request.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace quire {

// "/a%20b?c=d" -> {"/a b", "c=d"}, and the same for "http://host/a%20b?c=d". An escape that is none stays as it is.
std::pair<std::string, std::string> SplitTarget(std::string_view target);

// The names and values of a query, unescaped: "a=1&b%5B%5D=x+y" -> {{"a", "1"}, {"b[]", "x y"}}.
std::vector<std::pair<std::string, std::string>> SplitQuery(std::string_view query);

}  // namespace quire
