#include "tests/e2e/server_process.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <thread>

namespace quire {
namespace {

constexpr auto kStartTimeout = std::chrono::seconds(60);

int ExitCode(int wait_status) {
  return WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 128 + WTERMSIG(wait_status);
}

// The child between fork and exec: only async-signal-safe calls.
[[noreturn]] void Exec(const std::vector<char*>& argv) {
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  execv(argv[0], argv.data());
  _exit(127);
}

sockaddr_in LoopbackAddress(int port) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

bool Accepts(int port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_in address = LoopbackAddress(port);
  const bool accepted = connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
  close(fd);
  return accepted;
}

std::vector<char*> MakeArgv(const std::vector<std::string>& arguments) {
  std::vector<char*> argv = {const_cast<char*>(QUIRE_BINARY)};
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  return argv;
}

}  // namespace

ProgramResult RunQuire(const std::vector<std::string>& arguments, const std::string& input) {
  const std::vector<char*> argv = MakeArgv(arguments);
  int in[2], out[2];
  EXPECT_EQ(pipe2(in, O_CLOEXEC), 0);
  EXPECT_EQ(pipe2(out, O_CLOEXEC), 0);
  const pid_t pid = fork();
  if (pid == 0) {
    dup2(in[0], STDIN_FILENO);
    dup2(out[1], STDOUT_FILENO);
    dup2(out[1], STDERR_FILENO);
    Exec(argv);
  }
  close(in[0]);
  close(out[1]);
  EXPECT_EQ(write(in[1], input.data(), input.size()), static_cast<ssize_t>(input.size()));
  close(in[1]);
  ProgramResult result;
  char buffer[4096];
  for (ssize_t n; (n = read(out[0], buffer, sizeof(buffer))) > 0;) result.output.append(buffer, n);
  close(out[0]);
  int status = 0;
  waitpid(pid, &status, 0);
  result.exit_code = ExitCode(status);
  return result;
}

int FreePort() {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = LoopbackAddress(0);
  socklen_t length = sizeof(address);
  EXPECT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), length), 0) << strerror(errno);
  EXPECT_EQ(getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length), 0);
  close(fd);
  return ntohs(address.sin_port);
}

ServerProcess::ServerProcess(const std::vector<std::string>& extra_arguments) {
  const int port = FreePort();
  target_ = "127.0.0.1:" + std::to_string(port);
  std::vector<std::string> arguments = {"serve", QUIRE_TEST_MODEL, "--port", std::to_string(port), "--http-port", "-1"};
  arguments.insert(arguments.end(), extra_arguments.begin(), extra_arguments.end());
  const std::vector<char*> argv = MakeArgv(arguments);
  pid_ = fork();
  if (pid_ == 0) Exec(argv);
  const auto channel = NewChannel();
  inference_ = v1::InferenceService::NewStub(channel);
  admin_ = v1::AdminService::NewStub(channel);
  const auto deadline = std::chrono::system_clock::now() + kStartTimeout;
  // A channel that was refused once waits before it tries again, so the port is watched without one.
  while (std::chrono::system_clock::now() < deadline && Alive()) {
    if (Accepts(port)) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  ADD_FAILURE() << "the server at " << target_ << (Alive() ? " does not answer" : " ended before it was ready");
}

ServerProcess::~ServerProcess() {
  if (!Alive()) return;
  Signal(SIGKILL);
  waitpid(pid_, nullptr, 0);
}

bool ServerProcess::Alive() {
  if (pid_ > 0 && waitpid(pid_, nullptr, WNOHANG) == pid_) pid_ = -1;
  return pid_ > 0;
}

void ServerProcess::Signal(int signal) { ASSERT_EQ(kill(pid_, signal), 0); }

int ServerProcess::Wait(std::chrono::seconds timeout) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  while (std::chrono::steady_clock::now() < deadline) {
    int status = 0;
    if (waitpid(pid_, &status, WNOHANG) == pid_) {
      pid_ = -1;
      return ExitCode(status);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return -1;
}

std::shared_ptr<grpc::Channel> ServerProcess::NewChannel() const {
  grpc::ChannelArguments arguments;
  // A connection of its own each time, as separate clients have.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return grpc::CreateCustomChannel(target_, grpc::InsecureChannelCredentials(), arguments);
}

v1::Stats ServerProcess::Stats() {
  grpc::ClientContext context;
  v1::Stats stats;
  const grpc::Status status = admin_->GetStats(&context, {}, &stats);
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(stats.kv_pages_free() + stats.kv_pages_used() + stats.kv_pages_cached(), stats.kv_pages_total());
  return stats;
}

v1::Stats ServerProcess::WaitUntilIdle() {
  v1::Stats stats;
  for (int i = 0; i < 500; ++i) {
    stats = Stats();
    if (stats.requests_running() == 0 && stats.requests_waiting() == 0) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return stats;
}

namespace {

Completion Collect(grpc::ClientReader<v1::GenerateResponse>& stream, int index) {
  Completion completion;
  v1::GenerateResponse response;
  while (stream.Read(&response)) {
    ++completion.messages;
    if (response.has_usage()) completion.usage = response.usage();
    if (response.has_timings()) completion.timings = response.timings();
    if (response.has_session()) completion.session = response.session();
    for (const auto& logprob : response.prompt_logprobs()) completion.prompt_logprobs.push_back(logprob);
    if (response.index() != index) continue;
    completion.text += response.text();
    completion.token_ids.insert(completion.token_ids.end(), response.token_ids().begin(), response.token_ids().end());
    for (const auto& logprob : response.logprobs()) completion.logprobs.push_back(logprob);
    if (response.finish_reason() != v1::FINISH_REASON_UNSPECIFIED) completion.finish_reason = response.finish_reason();
  }
  completion.status = stream.Finish();
  return completion;
}

}  // namespace

Completion Generate(v1::InferenceService::Stub& stub, const v1::GenerateRequest& request,
                    std::chrono::milliseconds timeout, int index) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + timeout);
  return Collect(*stub.Generate(&context, request), index);
}

Completion Chat(v1::InferenceService::Stub& stub, const v1::ChatRequest& request) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::minutes(2));
  return Collect(*stub.Chat(&context, request), 0);
}

v1::GenerateRequest GreedyRequest(const std::string& text, int max_tokens) {
  v1::GenerateRequest request;
  request.set_text(text);
  request.mutable_sampling_params()->set_temperature(0);
  request.mutable_sampling_params()->set_max_tokens(max_tokens);
  return request;
}

}  // namespace quire
