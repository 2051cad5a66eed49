// HttpSession: one connection. Reads requests one after the other, has each answered, and bounds in size and time what
// a client can make it wait for.
#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "server/http/body_budget.h"
#include "server/http/http_exchange.h"

namespace quire {

// What all sessions of a server share. Outlives them.
struct HttpSessionContext {
  HttpHandler handler;
  HttpRefusalObserver on_refusal;
  std::string cors_origin;  // For Access-Control-Allow-Origin; empty: pages of other origins are not served.
  BodyBudget body_budget{size_t{256} << 20};
  bool draining = false;  // Connections end with the answer that they wait for.
};

// Belongs to the HTTP thread.
class HttpSession final : public HttpExchange, public std::enable_shared_from_this<HttpSession> {
 public:
  HttpSession(boost::asio::ip::tcp::socket socket, HttpSessionContext& context);

  // Serves the connection until it ends; throws nothing. REQUIRES: a shared_ptr to this lives on until it returns.
  asio::awaitable<void> Run();
  // Ends the connection if the client waits for nothing. One that has just connected gets a moment to ask, and its answer.
  void CloseIfIdle();
  // Ends it in any case.
  void Close();

  HttpRequest& request() override { return request_; }
  asio::any_io_executor executor() override { return socket_.get_executor(); }
  asio::awaitable<void> Respond(HttpResponse response) override;
  asio::awaitable<void> BeginEvents() override;
  asio::awaitable<void> SendEvents(std::string events) override;
  asio::awaitable<void> EndEvents() override;
  void Watch(std::function<void()> on_disconnect) override;
  bool disconnected() const override { return disconnected_; }

 private:
  using Parser = boost::beast::http::request_parser<boost::beast::http::string_body>;
  struct Refusal {
    int status;
    absl::StatusCode code;
    const char* message;
  };
  static const Refusal kBodiesTooLarge;
  enum class Sent { kNothing, kEvents, kEverything };

  asio::awaitable<void> ServeAll();
  // False when there is no further request: the connection is to be closed.
  asio::awaitable<bool> ReadRequest();
  asio::awaitable<bool> AwaitFirstBytes();
  asio::awaitable<std::optional<Refusal>> ReadMessage(Parser& parser);
  bool ReserveBody(Parser& parser);
  std::optional<Refusal> RefusalOf(const boost::system::error_code& error) const;
  static std::optional<Refusal> RefusalOfCoding(const Parser::value_type::header_type& header);
  void TakeRequest(Parser& parser);
  asio::awaitable<void> Answer();
  asio::awaitable<void> RefuseAndLinger(Refusal refusal);

  template <typename Message>
  void SetCommonFields(Message& message);
  asio::awaitable<void> Write(const std::vector<boost::asio::const_buffer>& buffers);

  // The operations in flight end with an error after `limit`, unless stopped before.
  void StartTimeout(std::chrono::seconds limit);
  void StopTimeout();

  void WatchSocket();
  void OnReadable(boost::system::error_code error);
  void Disconnected();

  boost::asio::ip::tcp::socket socket_;
  HttpSessionContext& context_;
  boost::beast::flat_buffer buffer_;  // Read, and not parsed yet.

  boost::asio::steady_timer timeout_;
  uint64_t timeout_number_ = 0;  // Tells the timeout in force from earlier ones, whose callbacks may still come.
  bool timed_out_ = false;

  // Of the request being answered.
  HttpRequest request_;
  BodyBudget::Share body_share_;
  bool idle_ = true;  // Nothing of it has come.
  bool served_any_ = false;
  unsigned version_ = 11;
  bool head_ = false;
  bool keep_alive_ = true;
  Sent sent_ = Sent::kNothing;

  std::function<void()> on_disconnect_;
  bool watching_ = false;  // A wait for the socket to become readable is in flight.
  bool disconnected_ = false;
};

}  // namespace quire
