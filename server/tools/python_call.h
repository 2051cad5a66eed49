// A call as Python writes it, f(city="Paris", days=[1, 2]), with literals for arguments.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "engine/types/json.h"
#include "server/tools/json_scanner.h"

namespace quire {

// Follows a call byte by byte up to its closing parenthesis.
class PythonCallScanner {
 public:
  // REQUIRES: all calls so far gave kTaken. Never kAfter.
  Scan Push(char byte);

 private:
  bool in_name_ = true;
  bool has_name_ = false;
  std::string open_;  // The brackets that are open.
  char quote_ = 0;    // Of the string being read; 0: none is.
  bool escaped_ = false;
};

struct PythonCall {
  std::string name;
  Json arguments;  // An object.
};
// Nothing if `text` is not a call with arguments by name and literals for values.
std::optional<PythonCall> ParsePythonCall(std::string_view text);

}  // namespace quire
