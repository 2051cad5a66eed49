#include "server/http/http_server.h"

#include <netinet/tcp.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/host_port.h"

namespace quire {
namespace {

using boost::asio::ip::tcp;
using boost::system::error_code;

// Descriptors for all but HTTP's connections: gRPC's, files, the listening socket.
constexpr int kOtherDescriptors = 512;
// What may wait in the kernel to be sent. What a client does not take is kept in our own form, which can be merged.
constexpr int kMaxUnsentBytes = 64 << 10;
constexpr char kTooManyConnections[] =
    "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

// As many connections as descriptors allow, of which a process may often have more than it begins with.
int ConnectionLimit(int wanted) {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return wanted;
  const rlim_t needed = static_cast<rlim_t>(wanted) + kOtherDescriptors;
  if (limit.rlim_cur < needed) {
    limit.rlim_cur = std::min(needed, limit.rlim_max);
    setrlimit(RLIMIT_NOFILE, &limit);
  }
  if (limit.rlim_cur >= needed) return wanted;
  return std::max<int>(16, static_cast<int>(limit.rlim_cur) - kOtherDescriptors);
}

void SetUp(tcp::socket& socket) {
  error_code ignored;
  const auto set = [&](int level, int name, int value) {
    setsockopt(socket.native_handle(), level, name, &value, sizeof(value));
  };
  socket.non_blocking(true, ignored);
  set(IPPROTO_TCP, TCP_NODELAY, 1);
  set(IPPROTO_TCP, TCP_NOTSENT_LOWAT, kMaxUnsentBytes);
  // A peer that vanished without a word is found within 40 s, and its pages are free.
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
  set(IPPROTO_TCP, TCP_KEEPIDLE, 30);
  set(IPPROTO_TCP, TCP_KEEPINTVL, 5);
  set(IPPROTO_TCP, TCP_KEEPCNT, 2);
}

}  // namespace

HttpServer::HttpServer(const HttpServerOptions& options, HttpHandler handler, HttpRefusalObserver on_refusal)
    : max_connections_(ConnectionLimit(options.max_connections)),
      context_{.handler = std::move(handler), .on_refusal = std::move(on_refusal), .cors_origin = options.cors_origin} {
}

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(const HttpServerOptions& options, HttpHandler handler,
                                                              HttpRefusalObserver on_refusal) {
  std::unique_ptr<HttpServer> server(new HttpServer(options, std::move(handler), std::move(on_refusal)));
  if (absl::Status status = server->Listen(options); !status.ok()) return status;
  asio::co_spawn(server->io_, server->AcceptAll(), asio::detached);
  server->thread_ = std::thread([&server = *server] { server.Run(); });
  return server;
}

HttpServer::~HttpServer() { Shutdown(absl::Now()); }

absl::Status HttpServer::Listen(const HttpServerOptions& options) {
  const auto failed = [&options](const error_code& error) {
    return absl::UnavailableError(absl::StrCat("cannot listen on ", JoinHostPort(options.host, options.port),
                                               " for HTTP: ", error.message(), "; choose with --host and --http-port"));
  };
  error_code error;
  tcp::resolver resolver(io_);
  const auto found = resolver.resolve(options.host, std::to_string(options.port), tcp::resolver::passive, error);
  if (error || found.empty()) return failed(error);
  const tcp::endpoint endpoint = found.begin()->endpoint();
  acceptor_.open(endpoint.protocol(), error);
  if (!error) acceptor_.set_option(tcp::acceptor::reuse_address(true), error);
  if (!error) acceptor_.bind(endpoint, error);
  if (!error) acceptor_.listen(tcp::acceptor::max_listen_connections, error);
  if (error) return failed(error);
  address_ = JoinHostPort(options.host, acceptor_.local_endpoint().port());
  return absl::OkStatus();
}

void HttpServer::Run() {
  while (!io_.stopped()) {
    try {
      io_.run();
    } catch (const std::exception& error) {  // Out of memory, most likely: what asked for it is given up.
      spdlog::error("HTTP: {}", error.what());
    }
  }
}

asio::awaitable<void> HttpServer::AcceptAll() {
  asio::steady_timer pause(io_);
  while (acceptor_.is_open()) {
    error_code error;
    tcp::socket socket(io_);
    co_await acceptor_.async_accept(socket, Into(error));
    if (!error) {
      Serve(std::move(socket));
    } else if (acceptor_.is_open()) {
      // No descriptor is left, most likely: some connection must end first.
      pause.expires_after(std::chrono::milliseconds(100));
      co_await pause.async_wait(Into(error));
    }
  }
}

void HttpServer::Serve(tcp::socket socket) {
  SetUp(socket);
  if (sessions_.size() >= static_cast<size_t>(max_connections_)) {
    error_code ignored;
    context_.on_refusal(HttpRequest(), absl::StatusCode::kResourceExhausted);
    socket.write_some(asio::buffer(kTooManyConnections, sizeof(kTooManyConnections) - 1), ignored);
    return;
  }
  auto session = std::make_shared<HttpSession>(std::move(socket), context_);
  sessions_.insert(session.get());
  asio::co_spawn(io_, session->Run(), [this, session](std::exception_ptr error) {
    sessions_.erase(session.get());
    if (sessions_.empty()) last_call_.cancel();
    // Of the session nothing is thrown but for want of memory.
    if (error != nullptr) spdlog::error("HTTP: a connection was given up");
  });
}

void HttpServer::CloseIdleSessions() {
  context_.draining = true;
  // Closing one may have it leave the set, though not before this returns.
  for (HttpSession* session : sessions_) session->CloseIfIdle();
}

void HttpServer::Drain() {
  asio::post(io_, [this] { CloseIdleSessions(); });
}

void HttpServer::Shutdown(absl::Time deadline) {
  if (!thread_.joinable()) return;
  asio::post(io_, [this, deadline] {
    error_code ignored;
    acceptor_.close(ignored);
    CloseIdleSessions();
    if (sessions_.empty()) return;
    last_call_.expires_at(std::chrono::steady_clock::now() + absl::ToChronoNanoseconds(deadline - absl::Now()));
    last_call_.async_wait([this](error_code) {
      for (HttpSession* session : sessions_) session->Close();
    });
  });
  thread_.join();  // Ends when there is nothing left to do.
}

}  // namespace quire
