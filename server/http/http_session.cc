#include "server/http/http_session.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <boost/asio/write.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/serializer.hpp>
#include <boost/beast/http/write.hpp>
#include <chrono>
#include <exception>
#include <tuple>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "server/http/http_errors.h"
#include "server/http/url.h"
#include "server/request_origin.h"

namespace quire {
namespace {

namespace http = boost::beast::http;
using boost::asio::ip::tcp;
using boost::system::error_code;
using std::chrono::seconds;

constexpr uint32_t kMaxHeaderBytes = 32 << 10;
constexpr uint64_t kMaxBodyBytes = 16 << 20;
// Bodies up to this size do without a share of the budget.
constexpr size_t kSmallBodyBytes = 16 << 10;
// What a client may send ahead while its request is being answered; beyond, the socket is not read.
constexpr size_t kMaxReadAhead = 16 << 10;

constexpr seconds kIdleTimeout{75};
// How long a client that has just connected has for its first request once the server drains.
constexpr seconds kLastChance{5};
constexpr seconds kHeaderTimeout{10};
constexpr seconds kBodyTimeout{60};
constexpr seconds kWriteTimeout{30};
// How long the rest of a refused request is read, so that the client sees the answer before it sees the connection's
// end.
constexpr seconds kLingerTimeout{2};

}  // namespace

const HttpSession::Refusal HttpSession::kBodiesTooLarge = {503, absl::StatusCode::kResourceExhausted,
                                                           "too many large requests are being read; try again later"};

HttpSession::HttpSession(tcp::socket socket, HttpSessionContext& context)
    : socket_(std::move(socket)),
      context_(context),
      buffer_(kMaxHeaderBytes + kMaxReadAhead),
      timeout_(socket_.get_executor()) {}

asio::awaitable<void> HttpSession::Run() {
  try {
    co_await ServeAll();
  } catch (const boost::system::system_error& error) {
    spdlog::debug("HTTP: a connection ended: {}", error.what());
  }
  StopTimeout();
  Close();
}

asio::awaitable<void> HttpSession::ServeAll() {
  do {
    const bool there_is_one = co_await ReadRequest();
    if (!there_is_one) break;
    co_await Answer();
  } while (keep_alive_ && !disconnected_ && !context_.draining);
}

void HttpSession::CloseIfIdle() {
  if (!idle_) return;
  if (served_any_) return Close();
  StartTimeout(kLastChance);
}

void HttpSession::Close() {
  error_code ignored;
  socket_.shutdown(tcp::socket::shutdown_both, ignored);
  socket_.close(ignored);
  Disconnected();
}

asio::awaitable<bool> HttpSession::ReadRequest() {
  idle_ = true;
  request_ = HttpRequest();
  sent_ = Sent::kNothing;
  version_ = 11;
  head_ = false;
  const bool begun = co_await AwaitFirstBytes();
  idle_ = false;
  if (!begun) co_return false;
  Parser parser;
  parser.header_limit(kMaxHeaderBytes);
  parser.body_limit(kMaxBodyBytes);
  const std::optional<Refusal> refusal = co_await ReadMessage(parser);
  StopTimeout();
  served_any_ = true;
  TakeRequest(parser);
  if (!refusal.has_value()) co_return true;
  if (refusal->status != 0) co_await RefuseAndLinger(*refusal);
  co_return false;
}

asio::awaitable<bool> HttpSession::AwaitFirstBytes() {
  if (buffer_.size() > 0) co_return true;
  buffer_.shrink_to_fit();  // A quiet connection costs no more than itself.
  error_code error;
  StartTimeout(context_.draining ? kLastChance : kIdleTimeout);
  co_await socket_.async_wait(tcp::socket::wait_read, Into(error));
  StopTimeout();
  co_return !error;
}

// A refusal of status 0 is not told: nobody is there.
asio::awaitable<std::optional<HttpSession::Refusal>> HttpSession::ReadMessage(Parser& parser) {
  error_code error;
  StartTimeout(kHeaderTimeout);
  co_await http::async_read_header(socket_, buffer_, parser, Into(error));
  if (error) co_return RefusalOf(error);
  if (const auto refusal = RefusalOfCoding(parser.get())) co_return refusal;
  body_share_ = BodyBudget::Share(context_.body_budget);
  if (!ReserveBody(parser)) co_return kBodiesTooLarge;
  // HTTP/1.0 does not know such an answer.
  if (parser.get().version() >= 11 && boost::beast::iequals(parser.get()[http::field::expect], "100-continue")) {
    const std::vector<asio::const_buffer> go_on = {asio::buffer("HTTP/1.1 100 Continue\r\n\r\n", 25)};
    co_await Write(go_on);
  }
  StartTimeout(kBodyTimeout);
  while (!parser.is_done()) {
    co_await http::async_read_some(socket_, buffer_, parser, Into(error));
    if (error) co_return RefusalOf(error);
    if (!ReserveBody(parser)) co_return kBodiesTooLarge;
  }
  co_return std::nullopt;
}

// A body whose length is told takes its memory beforehand, another one as it grows.
bool HttpSession::ReserveBody(Parser& parser) {
  const size_t bytes = std::max<size_t>(parser.content_length().value_or(0), parser.get().body().capacity());
  return bytes <= kSmallBodyBytes || body_share_.GrowTo(bytes);
}

std::optional<HttpSession::Refusal> HttpSession::RefusalOf(const error_code& error) const {
  using Code = absl::StatusCode;
  if (timed_out_) return Refusal{408, Code::kDeadlineExceeded, "the request took too long to arrive"};
  if (error == http::error::header_limit || error == http::error::buffer_overflow) {
    return Refusal{431, Code::kInvalidArgument, "the request's header must be at most 32 KiB long"};
  }
  if (error == http::error::body_limit) {
    return Refusal{413, Code::kInvalidArgument, "the request's body must be at most 16 MiB long"};
  }
  const bool ended = error == http::error::end_of_stream || error == http::error::partial_message;
  if (ended || error.category() != make_error_code(http::error::end_of_stream).category()) {
    return Refusal{0, Code::kCancelled, ""};
  }
  return Refusal{400, Code::kInvalidArgument, "the request is not HTTP/1.1"};
}

// A body is taken as it comes, so that one that is coded would be misread.
std::optional<HttpSession::Refusal> HttpSession::RefusalOfCoding(const Parser::value_type::header_type& header) {
  const auto differs = [&header](http::field field, absl::string_view plain) {
    const auto value = header[field];
    return !value.empty() && !absl::EqualsIgnoreCase({value.data(), value.size()}, plain);
  };
  using Code = absl::StatusCode;
  if (differs(http::field::transfer_encoding, "chunked")) {
    return Refusal{501, Code::kUnimplemented, "Transfer-Encoding must be chunked where it is set"};
  }
  if (differs(http::field::content_encoding, "identity")) {
    return Refusal{415, Code::kInvalidArgument, "the request's body must not be compressed"};
  }
  return std::nullopt;
}

void HttpSession::TakeRequest(Parser& parser) {
  auto message = parser.release();
  version_ = message.version();
  keep_alive_ = message.keep_alive();
  head_ = message.method() == http::verb::head;
  request_ = HttpRequest();
  request_.method = head_ ? "GET" : std::string(message.method_string());
  std::tie(request_.path, request_.query) = SplitTarget({message.target().data(), message.target().size()});
  for (const auto& field : message) {
    request_.headers.emplace_back(std::string(field.name_string()), std::string(field.value()));
  }
  request_.body = {std::move(message.body()), std::move(body_share_)};
  request_.id = RequestIdFor(request_.Header("X-Request-Id"));
}

asio::awaitable<void> HttpSession::Answer() {
  {
    const absl::Cleanup unwatch = [this] { on_disconnect_ = nullptr; };
    const bool preflight = request_.method == "OPTIONS" && !context_.cors_origin.empty();
    try {
      if (preflight) {
        HttpResponse nothing{.status = 204, .body = "", .content_type = ""};
        co_await Respond(std::move(nothing));
      } else {
        co_await context_.handler(*this);
      }
    } catch (const boost::system::system_error&) {
      throw;  // The client cannot be reached.
    } catch (const std::exception& error) {
      spdlog::error("HTTP: answering request {} failed: {}", request_.id, error.what());
    }
  }
  if (sent_ == Sent::kEverything || disconnected_) co_return;
  keep_alive_ = false;
  if (sent_ == Sent::kNothing) {
    HttpResponse failed = ErrorResponse(500, "answering the request failed", ErrorFormOf(request_));
    co_await Respond(std::move(failed));
  }
}

asio::awaitable<void> HttpSession::RefuseAndLinger(Refusal refusal) {
  keep_alive_ = false;
  context_.on_refusal(request_, refusal.code);
  HttpResponse response = ErrorResponse(refusal.status, refusal.message, ErrorFormOf(request_));
  if (refusal.status == 503) response.headers.emplace_back("Retry-After", "1");
  co_await Respond(std::move(response));
  error_code error;
  socket_.shutdown(tcp::socket::shutdown_send, error);
  StartTimeout(kLingerTimeout);
  while (!error) {
    buffer_.clear();
    co_await socket_.async_read_some(buffer_.prepare(kMaxReadAhead), Into(error));
  }
}

template <typename Message>
void HttpSession::SetCommonFields(Message& message) {
  if (context_.draining) keep_alive_ = false;
  message.version(version_);
  message.set(http::field::date, absl::FormatTime("%a, %d %b %Y %H:%M:%S GMT", absl::Now(), absl::UTCTimeZone()));
  message.set("X-Request-Id", request_.id);
  if (ErrorFormOf(request_) == ErrorForm::kAnthropic) message.set("Request-Id", request_.id);
  if (!context_.cors_origin.empty()) {
    message.set(http::field::access_control_allow_origin, context_.cors_origin);
    message.set(http::field::access_control_allow_methods, "GET, POST, DELETE, OPTIONS");
    message.set(http::field::access_control_allow_headers, "*, Authorization");
    message.set(http::field::access_control_expose_headers, "X-Request-Id, Retry-After");
  }
}

asio::awaitable<void> HttpSession::Respond(HttpResponse response) {
  sent_ = Sent::kEverything;
  http::response<http::string_body> message;
  message.result(static_cast<unsigned>(response.status));
  SetCommonFields(message);
  if (!response.content_type.empty()) message.set(http::field::content_type, response.content_type);
  for (const auto& [name, value] : response.headers) message.set(name, value);
  message.keep_alive(keep_alive_);
  message.body() = std::move(response.body);
  if (response.status != 204) message.content_length(message.body().size());
  http::response_serializer<http::string_body> serializer(message);
  StartTimeout(kWriteTimeout);
  if (head_) {
    co_await http::async_write_header(socket_, serializer, asio::use_awaitable);
  } else {
    co_await http::async_write(socket_, serializer, asio::use_awaitable);
  }
  StopTimeout();
}

asio::awaitable<void> HttpSession::BeginEvents() {
  sent_ = Sent::kEvents;
  http::response<http::empty_body> message;
  message.result(http::status::ok);
  // HTTP/1.0 has no chunks: the end of the connection is the end of the stream.
  if (version_ < 11 || head_) keep_alive_ = false;
  SetCommonFields(message);
  message.set(http::field::content_type, "text/event-stream; charset=utf-8");
  message.set(http::field::cache_control, "no-cache");
  message.set("X-Accel-Buffering", "no");  // Proxies are not to collect events.
  message.keep_alive(keep_alive_);
  if (version_ >= 11) message.chunked(true);
  http::response_serializer<http::empty_body> serializer(message);
  StartTimeout(kWriteTimeout);
  co_await http::async_write_header(socket_, serializer, asio::use_awaitable);
  StopTimeout();
  if (head_) Close();  // That was all; whoever makes the events sees a client that is gone.
}

asio::awaitable<void> HttpSession::SendEvents(std::string events) {
  if (events.empty()) co_return;  // An empty chunk would be the end.
  const std::string head = absl::StrCat(absl::Hex(events.size()), "\r\n");
  const std::vector<asio::const_buffer> chunk = {asio::buffer(head), asio::buffer(events), asio::buffer("\r\n", 2)};
  const std::vector<asio::const_buffer> plain = {asio::buffer(events)};
  StartTimeout(kWriteTimeout);
  if (version_ < 11) {
    co_await Write(plain);
  } else {
    co_await Write(chunk);
  }
  StopTimeout();
}

asio::awaitable<void> HttpSession::EndEvents() {
  sent_ = Sent::kEverything;
  if (version_ < 11) co_return;
  const std::vector<asio::const_buffer> end = {asio::buffer("0\r\n\r\n", 5)};
  StartTimeout(kWriteTimeout);
  co_await Write(end);
  StopTimeout();
}

asio::awaitable<void> HttpSession::Write(const std::vector<asio::const_buffer>& buffers) {
  co_await asio::async_write(socket_, buffers, asio::use_awaitable);
}

void HttpSession::StartTimeout(seconds limit) {
  timed_out_ = false;
  timeout_.expires_after(limit);
  timeout_.async_wait([weak = weak_from_this(), number = ++timeout_number_](error_code error) {
    const auto self = weak.lock();
    if (error || self == nullptr || number != self->timeout_number_) return;
    self->timed_out_ = true;
    error_code ignored;
    self->socket_.cancel(ignored);
  });
}

void HttpSession::StopTimeout() {
  ++timeout_number_;
  timeout_.cancel();
}

void HttpSession::Watch(std::function<void()> on_disconnect) {
  on_disconnect_ = std::move(on_disconnect);
  if (disconnected_) {
    on_disconnect_();
  } else {
    WatchSocket();
  }
}

void HttpSession::WatchSocket() {
  if (watching_ || buffer_.size() >= kMaxReadAhead) return;
  watching_ = true;
  socket_.async_wait(tcp::socket::wait_read, [self = shared_from_this()](error_code error) {
    self->watching_ = false;
    self->OnReadable(error);
  });
}

// While a request is being answered there is nothing to read but the next request, or that the client hung up. Between
// requests, reads see for themselves.
void HttpSession::OnReadable(error_code error) {
  if (on_disconnect_ == nullptr || buffer_.size() >= kMaxReadAhead) return;
  if (error == asio::error::operation_aborted && socket_.is_open()) return WatchSocket();  // By a timeout.
  if (!error) {
    const size_t bytes = socket_.read_some(buffer_.prepare(kMaxReadAhead - buffer_.size()), error);
    buffer_.commit(bytes);
    if (error == asio::error::would_block) error = {};
  }
  if (error) {
    Disconnected();
  } else {
    WatchSocket();
  }
}

void HttpSession::Disconnected() {
  if (std::exchange(disconnected_, true)) return;
  if (on_disconnect_ != nullptr) on_disconnect_();
}

}  // namespace quire
