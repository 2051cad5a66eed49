// The HTTP transport against a server in this process that says whatever a test wants it to.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <functional>
#include <list>
#include <mutex>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/bench/load/transport.h"

namespace quire {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using boost::system::error_code;
using tcp = asio::ip::tcp;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

using Request = http::request<http::string_body>;

// A thread for each connection, which answers each request with the bytes that `answer` gives for it; no bytes, or
// bytes that end in "<close>", close the connection.
class ScriptedServer {
 public:
  explicit ScriptedServer(std::function<std::string(const Request&)> answer)
      : answer_(std::move(answer)), acceptor_(io_, {asio::ip::make_address("127.0.0.1"), 0}) {
    acceptor_.listen(1024);
    accepting_ = std::thread([this] { Accept(); });
  }

  ~ScriptedServer() {
    stopping_ = true;
    error_code ignored;
    tcp::socket(io_).connect(acceptor_.local_endpoint(), ignored);  // Wakes the acceptor.
    accepting_.join();
    for (tcp::socket& socket : sockets_) socket.shutdown(tcp::socket::shutdown_both, ignored);
    for (std::thread& thread : threads_) thread.join();
  }

  std::string url() const { return absl::StrCat("http://127.0.0.1:", acceptor_.local_endpoint().port()); }
  int connections() const { return connections_; }

 private:
  void Accept() {
    for (;;) {
      tcp::socket socket(io_);
      acceptor_.accept(socket);
      if (stopping_) return;
      ++connections_;
      tcp::socket& kept = sockets_.emplace_back(std::move(socket));
      threads_.emplace_back([this, &kept] { Serve(kept); });
    }
  }

  void Serve(tcp::socket& socket) {
    boost::beast::flat_buffer buffer;
    error_code error;
    for (;;) {
      Request request;
      http::read(socket, buffer, request, error);
      if (error) return;
      std::string bytes = Answer(request);
      const bool close = bytes.empty() || bytes.ends_with("<close>");
      if (bytes.ends_with("<close>")) bytes.resize(bytes.size() - 7);
      asio::write(socket, asio::buffer(bytes), error);
      if (close) {
        socket.shutdown(tcp::socket::shutdown_both, error);
        return;
      }
    }
  }

  std::string Answer(const Request& request) {
    if (request.target() == "/v1/models") {
      const std::string models = R"({"data": [{"id": "fake-model"}]})";
      return absl::StrCat("HTTP/1.1 200 OK\r\nContent-Length: ", models.size(), "\r\n\r\n", models);
    }
    return answer_(request);
  }

  const std::function<std::string(const Request&)> answer_;
  asio::io_context io_;
  tcp::acceptor acceptor_;
  std::atomic<bool> stopping_{false};
  std::atomic<int> connections_{0};
  std::list<tcp::socket> sockets_;
  std::vector<std::thread> threads_;
  std::thread accepting_;
};

std::string Chunk(const std::string& bytes) { return absl::StrCat(absl::Hex(bytes.size()), "\r\n", bytes, "\r\n"); }

// A whole answer whose chunks cut events wherever they like.
std::string Stream(const std::string& events) {
  std::string out = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (size_t at = 0; at < events.size(); at += 11) out += Chunk(events.substr(at, 11));
  return out + "0\r\n\r\n";
}

constexpr char kTwoWords[] =
    "data: {\"choices\": [{\"text\": \" one\"}]}\n\n"
    "data: {\"choices\": [{\"text\": \" two\"}]}\n\n"
    "data: {\"choices\": [], \"usage\": {\"prompt_tokens\": 3, \"completion_tokens\": 2}}\n\n"
    "data: [DONE]\n\n";

struct Heard : StreamObserver {
  void OnTokens(int, const Passage& delta) override { words.push_back(delta.text); }
  void OnDone(const StreamEnd& ended) override {
    end = ended;
    done = true;
  }
  std::vector<std::string> words;
  StreamEnd end;
  bool done = false;
};

std::unique_ptr<Transport> Connect(const ScriptedServer& server, TransportOptions options = {}) {
  options.url = server.url();
  absl::StatusOr<std::unique_ptr<Transport>> transport = MakeHttpTransport(options);
  EXPECT_TRUE(transport.ok()) << transport.status();
  return *std::move(transport);
}

void PollUntilDone(Transport& transport, const Heard& heard) {
  while (!heard.done) transport.Poll(transport.Now() + std::chrono::seconds(1));
}

Heard Ask(Transport& transport) {
  Heard heard;
  transport.Start({{{"Hello", {}}}, 2}, &heard);
  PollUntilDone(transport, heard);
  return heard;
}

TEST(HttpTransport, HearsWordsAndUsageAndKeepsItsConnection) {
  std::atomic<int> posts{0};
  ScriptedServer server([&](const Request& request) {
    ++posts;
    EXPECT_EQ(request.target(), "/v1/completions");
    EXPECT_EQ(request["Authorization"], "Bearer x");
    EXPECT_THAT(request.body(), HasSubstr("fake-model"));
    return Stream(kTwoWords);
  });
  const auto transport = Connect(server, {.headers = {{"Authorization", "Bearer x"}}});
  EXPECT_EQ(transport->model(), "fake-model");
  for (int i = 0; i < 3; ++i) {
    const Heard heard = Ask(*transport);
    EXPECT_EQ(heard.end.error_kind, "");
    EXPECT_THAT(heard.words, ElementsAre(" one", " two"));
    EXPECT_EQ(heard.end.usage.prompt_tokens, 3);
    EXPECT_EQ(heard.end.usage.completion_tokens, 2);
  }
  EXPECT_EQ(posts, 3);
  EXPECT_EQ(server.connections(), 1);
}

TEST(HttpTransport, SendsAnewWhatAClosedIdleConnectionDidNotTake) {
  std::atomic<int> posts{0};
  // The first post finds the connection that /v1/models left; it is closed without an answer.
  ScriptedServer server([&](const Request&) { return ++posts == 1 ? "" : Stream(kTwoWords); });
  const auto transport = Connect(server);
  EXPECT_THAT(Ask(*transport).words, SizeIs(2));
  EXPECT_EQ(server.connections(), 2);
}

TEST(HttpTransport, NamesErrorsByTheirKind) {
  const std::string refusal = R"({"error": {"message": "too many requests"}})";
  const std::vector<std::pair<std::string, std::pair<std::string, std::string>>> cases = {
      {absl::StrCat("HTTP/1.1 429 Slow Down\r\nContent-Length: ", refusal.size(), "\r\n\r\n", refusal),
       {"HTTP 429", "too many requests"}},
      {Stream("data: {\"error\": {\"message\": \"lost\"}}\n\n"), {"error in a stream", "lost"}},
      {Stream("data: nonsense\n\n"), {"not a stream of chunks", "JSON"}},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + Chunk("data: {}\n") + "<close>",
       {"partial message", "partial"}},
      {"no HTTP at all\r\n\r\n<close>", {"bad version", "bad version"}},
  };
  for (const auto& [answer, expected] : cases) {
    ScriptedServer server([&bytes = answer](const Request&) { return bytes; });
    const auto transport = Connect(server);
    const Heard heard = Ask(*transport);
    EXPECT_EQ(heard.end.error_kind, expected.first);
    EXPECT_THAT(heard.end.error_message, HasSubstr(expected.second));
  }
}

TEST(HttpTransport, GivesUpAfterTheTimeout) {
  // A beginning, and then nothing more.
  ScriptedServer server([](const Request&) { return "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\ndata: "; });
  const auto transport = Connect(server, {.timeout = std::chrono::milliseconds(50)});
  EXPECT_EQ(Ask(*transport).end.error_kind, "timeout");
}

TEST(HttpTransport, HoldsManyStreamsInOneThread) {
  ScriptedServer server([](const Request&) { return Stream(kTwoWords); });
  const auto transport = Connect(server);
  std::vector<Heard> heard(200);
  for (Heard& one : heard) transport->Start({{{"Hello", {}}}, 2}, &one);
  for (const Heard& one : heard) PollUntilDone(*transport, one);
  for (const Heard& one : heard) EXPECT_THAT(one.words, SizeIs(2)) << one.end.error_message;
}

TEST(HttpTransport, SaysThatNoServerIsThere) {
  const auto transport = MakeHttpTransport({.url = "http://127.0.0.1:1"});
  EXPECT_EQ(transport.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(transport.status().message(), HasSubstr("http://127.0.0.1:1"));
  EXPECT_EQ(MakeHttpTransport({.url = "ftp://x"}).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace quire
