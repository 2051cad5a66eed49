// MessageLines: puts a message together that goes over several lines.
#pragma once

#include <string>

namespace quire {

// A line that ends in a backslash goes on in the next one. A line that begins with """ begins a message of any lines,
// up to one that ends with """.
class MessageLines {
 public:
  // Adds a line; true once the message is whole.
  bool Add(const std::string& line);
  // The message without what held it together, and as typed, for a history. Both as far as it goes.
  const std::string& text() const { return text_; }
  const std::string& typed() const { return typed_; }

 private:
  bool AddQuoted(std::string line);

  std::string text_;
  std::string typed_;
  bool begun_ = false;
  bool quoted_ = false;
};

}  // namespace quire
