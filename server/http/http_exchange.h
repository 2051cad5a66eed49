// HttpExchange: one request and the way back to its client, as a handler sees them.
#pragma once

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "server/http/asio.h"
#include "server/http/http_message.h"

namespace quire {

// Everything happens on the HTTP thread, which must not block. A handler either responds once, or begins a stream of
// server-sent events, sends, and ends it. The writing calls return when the socket has taken everything; they throw
// boost::system::system_error when the client is gone or takes nothing for 30 s, which handlers let pass.
class HttpExchange {
 public:
  virtual ~HttpExchange() = default;

  virtual HttpRequest& request() = 0;
  virtual asio::any_io_executor executor() = 0;

  virtual asio::awaitable<void> Respond(HttpResponse response) = 0;

  virtual asio::awaitable<void> BeginEvents() = 0;
  // `events` are whole: "data: ...\n\n". Empty: nothing is sent.
  virtual asio::awaitable<void> SendEvents(std::string events) = 0;
  // A stream that is not ended is cut off, by which clients know that something is missing.
  virtual asio::awaitable<void> EndEvents() = 0;

  // Has `on_disconnect` called once the client hangs up or the server closes the connection: at once if it has, and not
  // after the handler has returned. Whoever waits for anything but the client needs it.
  virtual void Watch(std::function<void()> on_disconnect) = 0;
  virtual bool disconnected() const = 0;
};

using HttpHandler = std::function<asio::awaitable<void>(HttpExchange&)>;

// Told of what the server refuses before any handler sees it: what is no HTTP, too large, too slow, or one too many.
// The request is what had been read of it.
using HttpRefusalObserver = std::function<void(const HttpRequest&, absl::StatusCode)>;

}  // namespace quire
