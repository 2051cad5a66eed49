// HttpServer: the listening socket, its connections, and the thread that serves them all.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <memory>
#include <string>
#include <thread>
#include <unordered_set>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/http/http_session.h"

namespace quire {

struct HttpServerOptions {
  std::string host;
  int port = 0;                  // 0: any that is free.
  std::string cors_origin;       // See HttpSessionContext.
  int max_connections = 10'000;  // Beyond, and where descriptors run out, clients are told to come back.
};

class HttpServer {
 public:
  // Listens once this returns. UNAVAILABLE when the address cannot be listened on.
  static absl::StatusOr<std::unique_ptr<HttpServer>> Start(const HttpServerOptions& options, HttpHandler handler,
                                                           HttpRefusalObserver on_refusal);
  // Shuts down at once.
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  // As clients write it: "127.0.0.1:8080".
  const std::string& address() const { return address_; }

  // Connections that wait for no answer close at once, the others with their answer. New ones are still served.
  void Drain();
  // Accepts nothing more, closes connections that wait for no answer at once and the others at `deadline`, and returns
  // when all are over. REQUIRES: what handlers wait for still comes.
  void Shutdown(absl::Time deadline);

 private:
  HttpServer(const HttpServerOptions& options, HttpHandler handler, HttpRefusalObserver on_refusal);

  absl::Status Listen(const HttpServerOptions& options);
  void Run();
  asio::awaitable<void> AcceptAll();
  void Serve(boost::asio::ip::tcp::socket socket);
  void CloseIdleSessions();

  const int max_connections_;
  HttpSessionContext context_;
  std::string address_;
  boost::asio::io_context io_{1};
  // Used by the HTTP thread only, once that runs.
  boost::asio::ip::tcp::acceptor acceptor_{io_};
  boost::asio::steady_timer last_call_{io_};
  std::unordered_set<HttpSession*> sessions_;
  std::thread thread_;
};

}  // namespace quire
