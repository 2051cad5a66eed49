#include <sys/resource.h>

#include <array>
// clang-format off
#include <utility>  // Boost 1.74's awaitable.hpp needs it and does not include it.
// clang-format on
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <chrono>
#include <cstdint>
#include <exception>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "engine/types/status_macros.h"
#include "server/bench/load/http_url.h"
#include "server/bench/load/openai_client.h"
#include "server/bench/load/sse_parser.h"
#include "server/bench/load/transport.h"

namespace quire {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using boost::system::error_code;
using tcp = asio::ip::tcp;

constexpr std::chrono::seconds kFirstAnswerTimeout{10};
constexpr size_t kMaxErrorBody = 64 << 10;

struct Connection {
  explicit Connection(asio::io_context& io) : stream(io) {}
  beast::tcp_stream stream;
  beast::flat_buffer buffer;  // Bytes that came with the last answer.
};

// Connections to one server: those not in use wait here for the next request.
class ConnectionPool {
 public:
  ConnectionPool(asio::io_context& io, tcp::resolver::results_type addresses)
      : io_(io), addresses_(std::move(addresses)) {}

  // nullptr: there is none.
  std::unique_ptr<Connection> TakeIdle() {
    if (idle_.empty()) return nullptr;
    std::unique_ptr<Connection> connection = std::move(idle_.back());
    idle_.pop_back();
    return connection;
  }

  void GiveBack(std::unique_ptr<Connection> connection) {
    connection->stream.expires_never();
    idle_.push_back(std::move(connection));
  }

  std::unique_ptr<Connection> New() { return std::make_unique<Connection>(io_); }
  const tcp::resolver::results_type& addresses() const { return addresses_; }

 private:
  asio::io_context& io_;
  const tcp::resolver::results_type addresses_;
  std::vector<std::unique_ptr<Connection>> idle_;
};

// One request and its answer, which goes to the two functions that a kind of exchange supplies.
class Exchange {
 public:
  Exchange(ConnectionPool& pool, http::request<http::string_body> request, LoadClock::time_point deadline)
      : pool_(pool), request_(std::move(request)), deadline_(deadline) {}
  virtual ~Exchange() = default;

  asio::awaitable<void> Run() {
    std::unique_ptr<Connection> connection = pool_.TakeIdle();
    error_code error;
    bool again = connection == nullptr;
    if (!again) {
      error = co_await Attempt(*connection);
      // A server may close an idle connection just as it is taken up again. It has then not seen the request.
      again = error && status_ == 0 && error != beast::error::timeout;
    }
    if (again) {
      connection = pool_.New();
      connection->stream.expires_at(deadline_);
      co_await connection->stream.async_connect(pool_.addresses(), asio::redirect_error(asio::use_awaitable, error));
      if (!error) error = co_await Attempt(*connection);
    }
    if (!error && keep_alive_) pool_.GiveBack(std::move(connection));
    OnEnd(error);
  }

 protected:
  // Bytes of the answer's body as they come; false: the rest is of no use.
  virtual bool OnBody(std::string_view bytes) = 0;
  virtual void OnEnd(const error_code& error) = 0;

  int status() const { return status_; }

 private:
  asio::awaitable<error_code> Attempt(Connection& connection) {
    error_code error;
    auto redirect = asio::redirect_error(asio::use_awaitable, error);
    connection.stream.expires_at(deadline_);
    co_await http::async_write(connection.stream, request_, redirect);
    if (error) co_return error;

    http::response_parser<http::buffer_body> parser;
    parser.body_limit(std::numeric_limits<uint64_t>::max());  // Nothing is kept here.
    co_await http::async_read_header(connection.stream, connection.buffer, parser, redirect);
    if (error) co_return error;
    status_ = parser.get().result_int();
    keep_alive_ = parser.keep_alive();
    std::array<char, 4096> bytes;
    while (!parser.is_done()) {
      auto& body = parser.get().body();
      body.data = bytes.data();
      body.size = bytes.size();
      co_await http::async_read_some(connection.stream, connection.buffer, parser, redirect);
      if (error && error != http::error::need_buffer) co_return error;
      if (!OnBody({bytes.data(), bytes.size() - body.size})) {
        keep_alive_ = false;
        break;
      }
    }
    co_return error_code();
  }

  ConnectionPool& pool_;
  const http::request<http::string_body> request_;
  const LoadClock::time_point deadline_;
  int status_ = 0;  // 0: no answer yet.
  bool keep_alive_ = false;
};

std::string ErrorKind(const error_code& error) { return error == beast::error::timeout ? "timeout" : error.message(); }

class StreamExchange : public Exchange {
 public:
  StreamExchange(ConnectionPool& pool, http::request<http::string_body> request, LoadClock::time_point deadline,
                 StreamObserver* observer)
      : Exchange(pool, std::move(request), deadline), observer_(observer) {}

 protected:
  bool OnBody(std::string_view bytes) override {
    if (status() != 200) {
      error_body_.append(bytes.substr(0, kMaxErrorBody - error_body_.size()));
      return true;
    }
    const absl::Status read = events_.Push(bytes, [this](std::string_view data) { OnEvent(data); });
    if (!read.ok()) Fail("not a stream of chunks", std::string(read.message()));
    return end_.error_kind.empty();
  }

  void OnEnd(const error_code& error) override {
    if (error) {
      Fail(ErrorKind(error), error.message());
    } else if (status() != 200) {
      Fail(absl::StrCat("HTTP ", status()), OpenAiErrorMessage(error_body_));
    }
    observer_->OnDone(end_);
  }

 private:
  void OnEvent(std::string_view data) {
    if (data == "[DONE]" || !end_.error_kind.empty()) return;
    absl::StatusOr<OpenAiChunk> chunk = ParseOpenAiChunk(data);
    if (!chunk.ok()) return Fail("not a stream of chunks", std::string(chunk.status().message()));
    if (!chunk->error.empty()) return Fail("error in a stream", chunk->error);
    if (chunk->usage) end_.usage = *chunk->usage;
    if (!chunk->text.empty()) observer_->OnTokens(1, {std::move(chunk->text), {}});
  }

  void Fail(std::string kind, std::string message) {
    if (end_.error_kind.empty()) end_ = {std::move(kind), std::move(message), end_.usage};
  }

  StreamObserver* const observer_;
  SseParser events_;
  std::string error_body_;
  StreamEnd end_;
};

// The whole body, for small answers.
class PlainExchange : public Exchange {
 public:
  using Exchange::Exchange;
  using Exchange::status;
  const std::string& body() const { return body_; }
  const error_code& error() const { return error_; }

 protected:
  bool OnBody(std::string_view bytes) override {
    body_.append(bytes);
    return body_.size() < SseParser::kMaxEventBytes;
  }
  void OnEnd(const error_code& error) override { error_ = error; }

 private:
  std::string body_;
  error_code error_;
};

class HttpTransport : public Transport {
 public:
  HttpTransport(const TransportOptions& options, HttpUrl url) : options_(options), url_(std::move(url)) {}

  // Resolves the server's name and asks it for its model.
  absl::Status Connect() {
    error_code error;
    tcp::resolver resolver(io_);
    tcp::resolver::results_type addresses = resolver.resolve(url_.host, url_.port, error);
    if (error) return NoServer(error.message());
    pool_ = std::make_unique<ConnectionPool>(io_, std::move(addresses));

    PlainExchange models(*pool_, NewRequest(http::verb::get, "/v1/models"), LoadClock::now() + kFirstAnswerTimeout);
    bool done = false;
    asio::co_spawn(io_, models.Run(), [&done](std::exception_ptr) { done = true; });
    while (!done) io_.run_one();
    if (models.error()) return NoServer(models.error().message());
    model_ = options_.model.empty() ? FirstOpenAiModel(models.body()) : options_.model;
    if (!model_.empty()) return absl::OkStatus();
    return NoServer(absl::StrCat("GET /v1/models gives no model (HTTP ", models.status(), "); name one with --model"));
  }

  void Start(const LoadRequest& request, StreamObserver* observer) override {
    http::request<http::string_body> post = NewRequest(http::verb::post, OpenAiPath(options_.endpoint));
    post.set(http::field::content_type, "application/json");
    post.set(http::field::accept, "text/event-stream");
    post.body() = OpenAiRequestBody(options_, model_, request);
    post.prepare_payload();
    asio::co_spawn(io_, RunStream(std::move(post), observer), asio::detached);
  }

  void Poll(LoadClock::time_point deadline) override { io_.run_one_until(deadline); }

  const std::string& model() const override { return model_; }

 private:
  absl::Status NoServer(const std::string& why) const {
    return absl::UnavailableError(absl::StrCat("no server at ", options_.url, ": ", why));
  }

  http::request<http::string_body> NewRequest(http::verb method, const std::string& path) const {
    http::request<http::string_body> request(method, url_.path + path, 11);
    request.set(http::field::host, url_.authority);
    request.set(http::field::user_agent, "quire-bench");
    for (const auto& [name, value] : options_.headers) request.set(name, value);
    return request;
  }

  asio::awaitable<void> RunStream(http::request<http::string_body> request, StreamObserver* observer) {
    StreamExchange exchange(*pool_, std::move(request), LoadClock::now() + options_.timeout, observer);
    co_await exchange.Run();
  }

  const TransportOptions options_;
  const HttpUrl url_;
  std::string model_;
  asio::io_context io_{1};  // One thread.
  const asio::executor_work_guard<asio::io_context::executor_type> work_{io_.get_executor()};
  std::unique_ptr<ConnectionPool> pool_;
};

// Each stream is a connection; what shells allow by default is soon used up.
void AllowManyConnections() {
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) != 0) return;
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Transport>> MakeHttpTransport(const TransportOptions& options) {
  ASSIGN_OR_RETURN(HttpUrl url, ParseHttpUrl(options.url));
  AllowManyConnections();
  auto transport = std::make_unique<HttpTransport>(options, std::move(url));
  RETURN_IF_ERROR(transport->Connect());
  return transport;
}

}  // namespace quire
