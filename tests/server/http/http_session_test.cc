// The server as bytes on a socket meet it.
#include "server/http/http_session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "server/http/http_server.h"
#include "server/http/router.h"
#include "server/http/wakeup.h"
#include "tests/server/http/http_client.h"

namespace quire {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class HttpSessionTest : public ::testing::Test {
 protected:
  explicit HttpSessionTest(const std::string& cors_origin = "", int max_connections = 100) {
    router_.AddSimple("GET", "/hello", [](const HttpRequest& request) {
      return HttpResponse{.body = "hello " + request.query, .content_type = "text/plain"};
    });
    router_.AddSimple("POST", "/echo", [](const HttpRequest& request) {
      return HttpResponse{.body = request.body.text, .content_type = "text/plain"};
    });
    router_.AddSimple("GET", "/things/*", [](const HttpRequest& request) {
      return HttpResponse{.body = request.path, .content_type = "text/plain"};
    });
    router_.AddSimple("GET", "/throws",
                      [](const HttpRequest&) -> HttpResponse { throw std::runtime_error("a planted fault"); });
    router_.Add("GET", "/events", [](HttpExchange& exchange) { return SendThreeEvents(exchange); });
    router_.Add("GET", "/waits", [this](HttpExchange& exchange) { return WaitForDisconnect(exchange); });
    router_.Add("GET", "/floods", [this](HttpExchange& exchange) { return Flood(exchange); });
    const HttpServerOptions options{
        .host = "127.0.0.1", .port = 0, .cors_origin = cors_origin, .max_connections = max_connections};
    server_ = HttpServer::Start(
                  options, [this](HttpExchange& exchange) { return router_.Handle(exchange); },
                  [this](const HttpRequest&, absl::StatusCode code) { ++refused_[static_cast<int>(code)]; })
                  .value();
  }

  static asio::awaitable<void> SendThreeEvents(HttpExchange& exchange) {
    co_await exchange.BeginEvents();
    for (int i = 0; i < 3; ++i) {
      std::string event = absl::StrCat("data: ", i, "\n\n");
      co_await exchange.SendEvents(std::move(event));
    }
    co_await exchange.EndEvents();
  }

  asio::awaitable<void> WaitForDisconnect(HttpExchange& exchange) {
    const auto wakeup = Wakeup::Make(exchange.executor());
    exchange.Watch([wakeup] { wakeup->Notify(); });
    waiting_.Notify();
    co_await wakeup->Wait();
    wakeup->Close();
    EXPECT_TRUE(exchange.disconnected());
    disconnected_.Notify();
  }

  // More than the kernel takes for a client that does not read.
  asio::awaitable<void> Flood(HttpExchange& exchange) {
    co_await exchange.BeginEvents();
    for (int i = 0; i < 1000; ++i) {
      std::string event = absl::StrCat("data: ", std::string(100'000, 'x'), "\n\n");
      co_await exchange.SendEvents(std::move(event));
      ++floods_sent_;
    }
  }

  int NumRefused(absl::StatusCode code) const { return refused_[static_cast<int>(code)]; }
  int port() const { return std::stoi(server_->address().substr(server_->address().rfind(':') + 1)); }

  Router router_;
  absl::Notification waiting_, disconnected_;
  std::atomic<int> floods_sent_ = 0;
  std::array<std::atomic<int>, 17> refused_{};  // By code.
  std::unique_ptr<HttpServer> server_;
};

TEST_F(HttpSessionTest, KeepsAConnectionForManyRequests) {
  HttpClient client(port());
  for (int i = 0; i < 3; ++i) {
    const HttpReply reply = client.Get(absl::StrCat("/hello?", i));
    EXPECT_EQ(reply.status, 200);
    EXPECT_EQ(reply.body, absl::StrCat("hello ", i));
  }
}

TEST_F(HttpSessionTest, AnswersPipelinedRequestsInTheirOrder) {
  HttpClient client(port());
  client.Send(
      "GET /hello?1 HTTP/1.1\r\nHost: x\r\n\r\nPOST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi"
      "GET /events HTTP/1.1\r\nHost: x\r\n\r\nGET /hello?2 HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(client.Read().body, "hello 1");
  EXPECT_EQ(client.Read().body, "hi");
  EXPECT_THAT(client.Read().Events(), ElementsAre("0", "1", "2"));
  EXPECT_EQ(client.Read().body, "hello 2");
}

TEST_F(HttpSessionTest, ReadsABodyInChunks) {
  HttpClient client(port());
  client.Send("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
  client.Send("2\r\nde\r\n0\r\n\r\n");
  EXPECT_EQ(client.Read().body, "abcde");
}

TEST_F(HttpSessionTest, TellsAClientThatAsksFirstToGoOn) {
  HttpClient client(port());
  client.Send("POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
  EXPECT_EQ(client.Read().status, 100);
  client.Send("ok");
  EXPECT_EQ(client.Read().body, "ok");
}

TEST_F(HttpSessionTest, RefusesBodiesThatAreCoded) {
  const auto status = [this](const std::string& header) {
    HttpClient client(port());
    client.Send("POST /echo HTTP/1.1\r\nHost: x\r\n" + header + "\r\n\r\n1\r\na\r\n0\r\n\r\n");
    return client.Read().status;
  };
  EXPECT_EQ(status("Transfer-Encoding: gzip, chunked"), 501);
  EXPECT_EQ(status("Transfer-Encoding: Chunked"), 200);
  EXPECT_EQ(status("Content-Encoding: gzip\r\nContent-Length: 11"), 415);
  EXPECT_EQ(status("Content-Encoding: identity\r\nContent-Length: 11"), 200);
}

TEST_F(HttpSessionTest, DoesNotTellHttp10ToGoOn) {
  HttpClient client(port());
  client.Send("POST /echo HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nok");
  const HttpReply reply = client.Read();
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.body, "ok");
}

TEST_F(HttpSessionTest, TakesTargetsAsProxiesSendThem) {
  HttpClient client(port());
  client.Send("GET http://x:80/hello?a HTTP/1.1\r\nHost: x:80\r\n\r\n");
  EXPECT_EQ(client.Read().body, "hello a");
}

TEST_F(HttpSessionTest, SendsOnWhoAsksWithASlashTooMany) {
  HttpClient client(port());
  HttpReply reply = client.Get("/hello/?a=%20b");
  EXPECT_EQ(reply.status, 307);
  EXPECT_EQ(reply.headers["location"], "/hello?a=%20b");
  EXPECT_EQ(client.Post("/echo/", "x").headers["location"], "/echo");
  EXPECT_EQ(client.Get("/things/").body, "/things/");
  EXPECT_EQ(client.Get("/nothing/").status, 404);
}

TEST_F(HttpSessionTest, SaysWhatTheTimeIs) {
  HttpClient client(port());
  for (const char* path : {"/hello", "/events", "/nothing"}) {
    absl::Time date;
    std::string error;
    EXPECT_TRUE(absl::ParseTime("%a, %d %b %Y %H:%M:%S GMT", client.Get(path).headers["date"], &date, &error)) << error;
    EXPECT_LE(date, absl::Now());
  }
}

TEST_F(HttpSessionTest, AnswersHeadWithoutABody) {
  HttpClient client(port());
  client.Send("HEAD /hello HTTP/1.1\r\nHost: x\r\n\r\n");
  HttpReply reply = client.Read(/*to_head=*/true);
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.headers["content-length"], "6");
  EXPECT_EQ(client.Get("/hello").body, "hello ");
}

TEST_F(HttpSessionTest, ClosesWhereAskedToAndForHttp10) {
  HttpClient client(port());
  client.Send("GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  EXPECT_EQ(client.Read().body, "hello ");
  EXPECT_TRUE(client.AwaitEnd());
  HttpClient old(port());
  old.Send("GET /events HTTP/1.0\r\n\r\n");
  const HttpReply reply = old.Read();
  EXPECT_EQ(reply.headers.count("transfer-encoding"), 0u);
  EXPECT_THAT(reply.Events(), ElementsAre("0", "1", "2"));
}

TEST_F(HttpSessionTest, FindsHandlersByPathAndMethod) {
  HttpClient client(port());
  EXPECT_EQ(client.Get("/things/a%2Fb%zz").body, "/things/a/b%zz");
  EXPECT_EQ(client.Get("/nothing").status, 404);
  HttpReply reply = client.Post("/hello", "");
  EXPECT_EQ(reply.status, 405);
  EXPECT_EQ(reply.headers["allow"], "GET");
  EXPECT_THAT(reply.body, HasSubstr("invalid_request_error"));
}

TEST_F(HttpSessionTest, EchoesTheRequestsIdOrMakesOne) {
  HttpClient client(port());
  client.Send("GET /hello HTTP/1.1\r\nHost: x\r\nX-Request-ID: mine-1\r\n\r\n");
  EXPECT_EQ(client.Read().headers["x-request-id"], "mine-1");
  client.Send("GET /hello HTTP/1.1\r\nHost: x\r\nX-Request-ID: with space\r\n\r\n");
  const std::string made = client.Read().headers["x-request-id"];
  EXPECT_NE(made, "");
  EXPECT_EQ(made.find(' '), made.npos);
}

TEST_F(HttpSessionTest, AFaultInAHandlerEndsItsRequestAlone) {
  EXPECT_EQ(HttpClient(port()).Get("/throws").status, 500);
  EXPECT_EQ(HttpClient(port()).Get("/hello").status, 200);
}

TEST_F(HttpSessionTest, RefusesWhatIsNoHttpAndWhatIsTooLarge) {
  const auto status_of = [this](const std::string& bytes) {
    HttpClient client(port());
    client.Send(bytes);
    const HttpReply reply = client.Read();
    EXPECT_TRUE(client.AwaitEnd());
    return reply.status;
  };
  EXPECT_EQ(status_of("hello there\r\n\r\n"), 400);
  EXPECT_EQ(status_of("GET / HTTP/3.7\r\n\r\n"), 400);
  EXPECT_EQ(status_of("POST /echo HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"), 400);
  EXPECT_EQ(status_of("POST /echo HTTP/1.1\r\nContent-Length: -5\r\n\r\n"), 400);
  EXPECT_EQ(status_of("GET /hello HTTP/1.1\r\nX: " + std::string(40'000, 'x') + "\r\n\r\n"), 431);
  EXPECT_EQ(status_of("POST /echo HTTP/1.1\r\nContent-Length: 16777217\r\n\r\n" + std::string(100'000, 'x')), 413);
  std::string chunks = "POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (int i = 0; i < 17; ++i) absl::StrAppend(&chunks, "100000\r\n", std::string(1 << 20, 'x'), "\r\n");
  EXPECT_EQ(status_of(chunks), 413);
  EXPECT_EQ(NumRefused(absl::StatusCode::kInvalidArgument), 7);
}

TEST_F(HttpSessionTest, BoundsTheMemoryOfAllBodiesTogether) {
  // Each reserves its 16 MiB with its header.
  std::vector<std::unique_ptr<HttpClient>> clients;
  for (int i = 0; i < 16; ++i) {
    clients.push_back(std::make_unique<HttpClient>(port()));
    clients.back()->Send("POST /echo HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 16777216\r\n\r\n");
    EXPECT_EQ(clients.back()->Read().status, 100);
  }
  HttpClient one_more(port());
  one_more.Send("POST /echo HTTP/1.1\r\nContent-Length: 16777216\r\n\r\n");
  HttpReply refused = one_more.Read();
  EXPECT_EQ(refused.status, 503);
  EXPECT_EQ(refused.headers["retry-after"], "1");
  EXPECT_EQ(NumRefused(absl::StatusCode::kResourceExhausted), 1);
  // Small ones still are served.
  EXPECT_EQ(HttpClient(port()).Post("/echo", "small").body, "small");
}

TEST_F(HttpSessionTest, TellsAHandlerThatItsClientHungUp) {
  HttpClient client(port());
  client.Send("GET /waits HTTP/1.1\r\nHost: x\r\n\r\n");
  ASSERT_TRUE(waiting_.WaitForNotificationWithTimeout(absl::Seconds(30)));
  // A request that is sent ahead is no hanging up.
  client.Send("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
  client.Close();
  EXPECT_TRUE(disconnected_.WaitForNotificationWithTimeout(absl::Seconds(30)));
}

TEST_F(HttpSessionTest, AClientThatDoesNotReadStopsNobodyElse) {
  HttpClient unread(port());
  unread.Send("GET /floods HTTP/1.1\r\nHost: x\r\n\r\n");
  for (int i = 0; i < 3; ++i) EXPECT_EQ(HttpClient(port()).Get("/hello").status, 200);
  // The kernel's buffers take some of it and no more.
  EXPECT_LT(floods_sent_, 1000);
}

TEST_F(HttpSessionTest, ShuttingDownClosesIdleConnectionsAtOnceAndBusyOnesAtTheDeadline) {
  HttpClient idle(port()), busy(port());
  EXPECT_EQ(idle.Get("/hello").status, 200);
  busy.Send("GET /waits HTTP/1.1\r\nHost: x\r\n\r\n");
  ASSERT_TRUE(waiting_.WaitForNotificationWithTimeout(absl::Seconds(30)));
  server_->Shutdown(absl::Now() + absl::Milliseconds(50));
  EXPECT_TRUE(disconnected_.HasBeenNotified());
  EXPECT_TRUE(idle.AwaitEnd());
  EXPECT_TRUE(busy.AwaitEnd());
}

TEST_F(HttpSessionTest, ADrainingServerClosesIdleConnectionsAndOthersWithTheirAnswers) {
  HttpClient idle(port());
  EXPECT_EQ(idle.Get("/hello").headers.count("connection"), 0u);
  server_->Drain();
  EXPECT_TRUE(idle.AwaitEnd());
  HttpClient late(port());
  HttpReply reply = late.Get("/hello");
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.headers["connection"], "close");
  EXPECT_TRUE(late.AwaitEnd());
}

TEST_F(HttpSessionTest, ADrainingServerAnswersWhoHasConnectedAndNotAskedYet) {
  HttpClient early(port()), idle(port());
  EXPECT_EQ(idle.Get("/hello").status, 200);  // So the earlier one was taken on, too.
  server_->Drain();
  EXPECT_TRUE(idle.AwaitEnd());
  HttpReply reply = early.Get("/hello");
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.headers["connection"], "close");
  EXPECT_TRUE(early.AwaitEnd());
}

TEST_F(HttpSessionTest, ABusyPortIsNamed) {
  const HttpServerOptions options{.host = "127.0.0.1", .port = port(), .cors_origin = ""};
  const absl::Status status = HttpServer::Start(options, nullptr, nullptr).status();
  EXPECT_TRUE(absl::IsUnavailable(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr(absl::StrCat("127.0.0.1:", port())));
  EXPECT_THAT(std::string(status.message()), HasSubstr("--http-port"));
}

class HttpSessionWithCorsTest : public HttpSessionTest {
 protected:
  HttpSessionWithCorsTest() : HttpSessionTest("https://pages.example", /*max_connections=*/2) {}
};

TEST_F(HttpSessionWithCorsTest, LetsPagesOfAnOriginIn) {
  HttpClient client(port());
  client.Send("OPTIONS /echo HTTP/1.1\r\nHost: x\r\nOrigin: https://pages.example\r\n\r\n");
  HttpReply reply = client.Read();
  EXPECT_EQ(reply.status, 204);
  EXPECT_EQ(reply.headers["access-control-allow-origin"], "https://pages.example");
  EXPECT_EQ(client.Get("/hello").headers["access-control-allow-origin"], "https://pages.example");
  EXPECT_EQ(client.Get("/events").headers["access-control-allow-origin"], "https://pages.example");
}

TEST_F(HttpSessionWithCorsTest, TellsOneConnectionTooManyToComeBack) {
  HttpClient first(port()), second(port());
  EXPECT_EQ(first.Get("/hello").status, 200);
  EXPECT_EQ(second.Get("/hello").status, 200);
  HttpClient third(port());
  EXPECT_EQ(third.Read().status, 503);
  EXPECT_EQ(NumRefused(absl::StatusCode::kResourceExhausted), 1);
}

}  // namespace
}  // namespace quire
