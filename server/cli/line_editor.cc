#include "server/cli/line_editor.h"

#include <histedit.h>
#include <unistd.h>

#include <clocale>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <string_view>

#include "kernels/check.h"

namespace quire {
namespace {

constexpr int kHistoryEntries = 1000;

// Text in any script can be edited, whatever the locale says of the rest.
void UseUtf8() {
  setlocale(LC_CTYPE, "");
  if (MB_CUR_MAX == 1) setlocale(LC_CTYPE, "C.UTF-8");
}

}  // namespace

// libedit's state.
class LineEditor::Terminal {
 public:
  explicit Terminal(const std::string& history_path) : history_path_(history_path) {
    UseUtf8();
    history_ = history_init();
    editor_ = el_init("quire", stdin, stderr, stderr);
    QUIRE_CHECK(history_ != nullptr && editor_ != nullptr);
    HistEvent event;
    history(history_, &event, H_SETSIZE, kHistoryEntries);
    history(history_, &event, H_SETUNIQUE, 1);
    LoadHistory();
    el_set(editor_, EL_CLIENTDATA, this);
    el_set(editor_, EL_PROMPT, &Terminal::Prompt);
    el_set(editor_, EL_HIST, history, history_);
    el_set(editor_, EL_EDITOR, "emacs");
    // While a line is edited Ctrl-C is a key like others, and raises no signal.
    el_set(editor_, EL_SETTY, "-d", "-isig", nullptr);
    // Between two lines keys wait for the next one as they are: the system's own editing of lines would make a Ctrl-D
    // another character, and show what the editor shows again.
    el_set(editor_, EL_SETTY, "-x", "-icanon", "-echo", nullptr);
    el_set(editor_, EL_ADDFN, "quire-interrupt", "Forget the line", &Terminal::OnInterruptKey);
    el_set(editor_, EL_BIND, "^C", "quire-interrupt", nullptr);
    el_set(editor_, EL_BIND, "^R", "em-inc-search-prev", nullptr);
    el_source(editor_, nullptr);  // The user's ~/.editrc.
  }

  ~Terminal() {
    el_end(editor_);
    history_end(history_);
  }

  Result Read(const std::string& prompt, std::string* line) {
    prompt_ = prompt;
    interrupted_ = false;
    el_resize(editor_);  // The window may have changed since the last line.
    // Before the prompt appears: el_gets would switch after it, and a Ctrl-C in between would be a signal.
    el_set(editor_, EL_PREP_TERM, 1);
    int length = 0;
    const char* text = el_gets(editor_, &length);
    if (interrupted_) return Result::kInterrupted;
    if (text == nullptr || length <= 0) return Result::kEnd;
    std::string_view entered(text, static_cast<size_t>(length));
    if (entered.ends_with('\n')) entered.remove_suffix(1);
    line->assign(entered);
    return Result::kLine;
  }

  void Remember(const std::string& entry) {
    HistEvent event;
    history(history_, &event, H_ENTER, entry.c_str());
    if (!history_path_.empty()) history(history_, &event, H_SAVE, history_path_.c_str());
  }

 private:
  static char* Prompt(EditLine* editor) {
    Terminal* self = nullptr;
    el_get(editor, EL_CLIENTDATA, &self);
    return self->prompt_.data();
  }

  static unsigned char OnInterruptKey(EditLine* editor, int /*key*/) {
    Terminal* self = nullptr;
    el_get(editor, EL_CLIENTDATA, &self);
    self->interrupted_ = true;
    return CC_EOF;
  }

  void LoadHistory() {
    if (history_path_.empty()) return;
    // What is typed into a chat is nobody else's business; libedit gives the file itself mode 600.
    const std::filesystem::path folder = std::filesystem::path(history_path_).parent_path();
    std::error_code error;
    if (!folder.empty() && std::filesystem::create_directories(folder, error)) {
      std::filesystem::permissions(folder, std::filesystem::perms::owner_all, error);
    }
    HistEvent event;
    history(history_, &event, H_LOAD, history_path_.c_str());
  }

  const std::string history_path_;
  History* history_ = nullptr;
  EditLine* editor_ = nullptr;
  std::string prompt_;
  bool interrupted_ = false;
};

LineEditor::LineEditor(const std::string& history_path) {
  if (isatty(STDIN_FILENO) != 0) terminal_ = std::make_unique<Terminal>(history_path);
}

LineEditor::~LineEditor() = default;

LineEditor::Result LineEditor::Read(const std::string& prompt, std::string* line) {
  if (terminal_ != nullptr) return terminal_->Read(prompt, line);
  return std::getline(std::cin, *line) ? Result::kLine : Result::kEnd;
}

void LineEditor::Remember(const std::string& entry) {
  if (terminal_ != nullptr) terminal_->Remember(entry);
}

std::string DefaultHistoryPath() {
  const char* state = std::getenv("XDG_STATE_HOME");
  const char* home = std::getenv("HOME");
  if (state != nullptr && *state != '\0') return std::string(state) + "/quire/chat_history";
  if (home != nullptr && *home != '\0') return std::string(home) + "/.local/state/quire/chat_history";
  return "";
}

}  // namespace quire
