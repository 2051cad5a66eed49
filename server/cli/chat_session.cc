#include "server/cli/chat_session.h"

#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <cstdio>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "engine/tokenizer/utf8.h"
#include "engine/types/status_macros.h"
#include "server/cli/message_lines.h"
#include "server/cli/terminal_text.h"
#include "server/client_channel.h"

namespace quire {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kGreetTimeout = std::chrono::seconds(5);

absl::Status ToStatus(const grpc::Status& status) {
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
}

void Print(FILE* stream, const std::string& text) {
  std::fputs((isatty(fileno(stream)) != 0 ? ForTerminal(text) : text).c_str(), stream);
  std::fflush(stream);
}

absl::Status NeedsArgument(const char* what, const std::string& argument) {
  return argument.empty() ? absl::InvalidArgumentError(absl::StrCat("say ", what)) : absl::OkStatus();
}

}  // namespace

const ChatSession::Command ChatSession::kCommands[] = {
    {"/help", "", "what there is", &ChatSession::Help},
    {"/reset", "", "begin again; the system message and parameters stay", &ChatSession::Reset},
    {"/system", "[TEXT]", "set the system message, or remove it", &ChatSession::System},
    {"/set", "NAME VALUE", "as \"/set temperature 0.5\"; \"default\" unsets it", &ChatSession::Set},
    {"/params", "", "show the sampling parameters", &ChatSession::Parameters},
    {"/retry", "", "another answer instead of the last one", &ChatSession::Retry},
    {"/history", "", "show the conversation", &ChatSession::History},
    {"/save", "FILE", "write the conversation and its parameters as JSON", &ChatSession::Save},
    {"/load", "FILE", "go on with a saved conversation", &ChatSession::Load},
    {"/quit", "", "leave, as Ctrl-D does", &ChatSession::Quit},
    // What other programs and earlier versions of this one call them.
    {"/clear", "", nullptr, &ChatSession::Reset},
    {"/exit", "", nullptr, &ChatSession::Quit},
};

ChatSession::ChatSession(const std::string& target, ChatHistory history, LineEditor& editor,
                         InterruptWatcher& interrupts)
    : target_(target),
      history_(std::move(history)),
      editor_(editor),
      interrupts_(interrupts),
      stub_(v1::InferenceService::NewStub(OpenChannel(target))) {}

int ChatSession::Run() {
  if (editor_.is_terminal()) {
    if (const absl::Status status = Greet(); !status.ok()) {
      Complain(status);
      return 1;
    }
  }
  std::string message;
  while (!quit_ && ReadMessage(&message)) {
    const absl::Status status = Handle(message);
    if (!status.ok() && !absl::IsCancelled(status)) {
      Complain(status);
      // A script that pipes questions in must notice; a person can just try again.
      if (!editor_.is_terminal()) return 1;
    }
  }
  return 0;
}

absl::Status ChatSession::Greet() {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kGreetTimeout);
  v1::ListModelsResponse response;
  RETURN_IF_ERROR(ToStatus(stub_->ListModels(&context, {}, &response)));
  const std::string model = response.models_size() > 0 ? response.models(0).name() : "the model";
  Print(stderr, absl::StrCat("This is ", model, " at ", target_, ".\n/help tells more; Ctrl-D leaves.\n"));
  return absl::OkStatus();
}

bool ChatSession::ReadMessage(std::string* message) {
  message->clear();
  MessageLines lines;
  std::string line;
  const char* prompt = "> ";
  while (true) {
    switch (editor_.Read(prompt, &line)) {
      case LineEditor::Result::kEnd:
        if (editor_.is_terminal()) std::fputs("\n", stderr);
        return false;
      case LineEditor::Result::kInterrupted:
        std::fputs("^C\n", stderr);
        return true;
      case LineEditor::Result::kLine:
        break;
    }
    prompt = "... ";
    bool whole = false;
    // What comes back from the history may be several lines at once.
    for (const std::string& part : std::vector<std::string>(absl::StrSplit(line, '\n'))) whole = lines.Add(part);
    if (whole) break;
  }
  if (absl::StripAsciiWhitespace(lines.text()).empty()) return true;
  editor_.Remember(lines.typed());
  *message = lines.text();
  return true;
}

absl::Status ChatSession::Handle(const std::string& message) {
  if (message.empty()) return absl::OkStatus();
  if (message.front() == '/') return RunCommand(message);
  return Say(message);
}

absl::Status ChatSession::Say(const std::string& text) {
  if (FindInvalidUtf8(text)) return absl::InvalidArgumentError("this is not UTF-8 text");
  ChatHistory asked = history_;
  asked.AddQuestion(text);
  return Answer(std::move(asked));
}

absl::Status ChatSession::Answer(ChatHistory asked) {
  ASSIGN_OR_RETURN(const std::string answer, Ask(asked.request()));
  asked.AddAnswer(answer);
  history_ = std::move(asked);
  return absl::OkStatus();
}

absl::StatusOr<std::string> ChatSession::Ask(const v1::ChatRequest& request) {
  grpc::ClientContext context;
  InterruptWatcher::Call call(interrupts_, context);
  const Clock::time_point start = Clock::now();
  Clock::time_point first = start;
  const auto stream = stub_->Chat(&context, request);
  std::string answer;
  v1::GenerateResponse response;
  while (stream->Read(&response)) {
    if (answer.empty()) first = Clock::now();
    answer += response.text();
    Print(stdout, response.text());
  }
  const absl::Status status = ToStatus(stream->Finish());
  // What an error or Ctrl-C cut off stays on a line of its own.
  if (status.ok() || !answer.empty()) Print(stdout, "\n");
  if (status.ok()) {
    ReportSpeed(response.usage(), Clock::now() - start, first - start);
    return answer;
  }
  if (!absl::IsCancelled(status)) return status;
  Print(stderr, "[stopped]\n");
  if (answer.empty()) return status;
  return answer;
}

void ChatSession::ReportSpeed(const v1::Usage& usage, std::chrono::duration<double> elapsed,
                              std::chrono::duration<double> first) const {
  if (isatty(STDERR_FILENO) == 0) return;
  std::fprintf(stderr, "[%d tokens, %.0f a second, the first after %.2f s; prompt %d, of which cached %d]\n",
               usage.completion_tokens(), usage.completion_tokens() / elapsed.count(), first.count(),
               usage.prompt_tokens(), usage.cached_tokens());
}

void ChatSession::Complain(const absl::Status& status) const {
  Print(stderr, absl::StrCat("error: ", status.message(), "\n"));
  if (!absl::IsUnavailable(status) && !absl::IsDeadlineExceeded(status)) return;
  Print(stderr, absl::StrCat("Is a server running at ", target_, "? Start one with: make serve\n"));
}

absl::Status ChatSession::RunCommand(const std::string& line) {
  const size_t end = line.find_first_of(" \n");
  const std::string name = line.substr(0, end);
  const std::string argument =
      end == std::string::npos ? "" : std::string(absl::StripAsciiWhitespace(line.substr(end)));
  for (const Command& command : kCommands) {
    if (name == command.name) return (this->*command.run)(argument);
  }
  return absl::InvalidArgumentError(absl::StrCat("there is no command ", name, "; /help lists them"));
}

absl::Status ChatSession::Help(const std::string& /*argument*/) {
  for (const Command& command : kCommands) {
    if (command.help == nullptr) continue;
    std::fprintf(stderr, "  %-20s %s\n", absl::StrCat(command.name, " ", command.argument).c_str(), command.help);
  }
  std::fputs(
      "A line that ends in \\ goes on in the next; \"\"\" begins and ends a message of several lines.\n"
      "Ctrl-C stops an answer or forgets a line; Ctrl-R searches earlier lines.\n",
      stderr);
  return absl::OkStatus();
}

absl::Status ChatSession::Reset(const std::string& /*argument*/) {
  history_.Reset();
  return absl::OkStatus();
}

absl::Status ChatSession::System(const std::string& argument) {
  if (FindInvalidUtf8(argument)) return absl::InvalidArgumentError("this is not UTF-8 text");
  history_.SetSystem(argument);
  return absl::OkStatus();
}

absl::Status ChatSession::Set(const std::string& argument) {
  const size_t end = argument.find(' ');
  if (end == std::string::npos)
    return absl::InvalidArgumentError("say a name and a value, as \"/set temperature 0.5\"");
  const absl::string_view value = absl::string_view(argument).substr(end);
  return history_.Set(argument.substr(0, end), std::string(absl::StripAsciiWhitespace(value)));
}

absl::Status ChatSession::Parameters(const std::string& /*argument*/) {
  Print(stderr, history_.DescribeParameters());
  return absl::OkStatus();
}

absl::Status ChatSession::Retry(const std::string& /*argument*/) {
  ChatHistory asked = history_;
  if (!asked.DropAnswer()) return absl::FailedPreconditionError("there is no answer yet");
  return Answer(std::move(asked));
}

absl::Status ChatSession::History(const std::string& /*argument*/) {
  for (const v1::ChatMessage& message : history_.request().messages()) {
    Print(stderr, absl::StrCat(message.role(), ": ", message.content(), "\n"));
  }
  return absl::OkStatus();
}

absl::Status ChatSession::Save(const std::string& argument) {
  RETURN_IF_ERROR(NeedsArgument("which file, as \"/save talk.json\"", argument));
  return history_.Save(argument);
}

absl::Status ChatSession::Load(const std::string& argument) {
  RETURN_IF_ERROR(NeedsArgument("which file, as \"/load talk.json\"", argument));
  RETURN_IF_ERROR(history_.Load(argument));
  return History("");
}

absl::Status ChatSession::Quit(const std::string& /*argument*/) {
  quit_ = true;
  return absl::OkStatus();
}

}  // namespace quire
