// LineEditor: lines from standard input, with editing and a history where that is a terminal, as they are where it is
// not.
#pragma once

#include <memory>
#include <string>

namespace quire {

class LineEditor {
 public:
  enum class Result {
    kLine,
    kInterrupted,  // Ctrl-C: the line is to be forgotten.
    kEnd,          // Ctrl-D, or the end of the input.
  };

  // `history_path`: where lines are kept between runs; empty: nowhere. A file that cannot be used is done without.
  // A terminal shows no keys while no line is read, and is as before once the editor is destroyed.
  explicit LineEditor(const std::string& history_path);
  ~LineEditor();
  LineEditor(const LineEditor&) = delete;
  LineEditor& operator=(const LineEditor&) = delete;

  bool is_terminal() const { return terminal_ != nullptr; }
  // One line without its end; `prompt` appears on standard error, on a terminal only.
  Result Read(const std::string& prompt, std::string* line);
  // Keeps what was entered, in one or several lines, for the arrow keys and for the next run.
  void Remember(const std::string& entry);

 private:
  class Terminal;
  std::unique_ptr<Terminal> terminal_;
};

// $XDG_STATE_HOME/quire/chat_history, or what stands for it; empty without a home.
std::string DefaultHistoryPath();

}  // namespace quire
