#include "tests/server/http/http_client.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace quire {

std::vector<std::string> HttpReply::Events() const {
  std::vector<std::string> events;
  for (absl::string_view line : absl::StrSplit(body, "\n\n", absl::SkipEmpty())) {
    EXPECT_TRUE(absl::ConsumePrefix(&line, "data: ")) << line;
    events.emplace_back(line);
  }
  return events;
}

HttpClient::HttpClient(int port) : socket_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  const timeval patience{.tv_sec = 30, .tv_usec = 0};
  setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
}

HttpClient::~HttpClient() { Close(); }

void HttpClient::Close() {
  if (socket_ >= 0) close(socket_);
  socket_ = -1;
}

// A server that has refused a request may not take the rest of it.
void HttpClient::Send(const std::string& bytes) {
  for (size_t sent = 0; sent < bytes.size();) {
    const ssize_t n = send(socket_, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
    if (n <= 0) return;
    sent += n;
  }
}

bool HttpClient::ReadMore() {
  char buffer[65536];
  const ssize_t n = recv(socket_, buffer, sizeof(buffer), 0);
  if (n > 0) received_.append(buffer, n);
  ended_ = n <= 0;
  return !ended_;
}

std::string HttpClient::TakeLine() {
  size_t end = 0;
  while ((end = received_.find("\r\n")) == received_.npos) {
    if (!ReadMore()) return "";
  }
  std::string line = received_.substr(0, end);
  received_.erase(0, end + 2);
  return line;
}

void HttpClient::TakeBytes(size_t bytes, HttpReply& reply) {
  while (received_.size() < bytes && ReadMore()) {
  }
  reply.body += received_.substr(0, bytes);
  received_.erase(0, bytes);
}

HttpReply HttpClient::Read(bool to_head) {
  HttpReply reply;
  const std::string status = TakeLine();
  if (!absl::StartsWith(status, "HTTP/1.")) return reply;
  reply.status = std::stoi(status.substr(9, 3));
  for (std::string line = TakeLine(); !line.empty(); line = TakeLine()) {
    const std::pair<std::string, std::string> field = absl::StrSplit(line, absl::MaxSplits(": ", 1));
    reply.headers[absl::AsciiStrToLower(field.first)] = field.second;
  }
  if (to_head || reply.status == 100 || reply.status == 204) {
    reply.complete = true;
  } else if (reply.headers.count("content-length") > 0) {
    TakeBytes(std::stoul(reply.headers["content-length"]), reply);
    reply.complete = !ended_;
  } else if (reply.headers.count("transfer-encoding") > 0) {
    while (!ended_ && !reply.complete) {
      const std::string length = TakeLine();
      if (length.empty()) break;
      TakeBytes(std::stoul(length, nullptr, 16), reply);
      TakeLine();
      reply.complete = length == "0";
    }
  } else {
    while (ReadMore()) {
    }
    reply.body = std::exchange(received_, "");
    reply.complete = true;
  }
  return reply;
}

void HttpClient::ReadUntil(const std::string& text) {
  while (received_.find(text) == received_.npos) {
    ASSERT_TRUE(ReadMore()) << "the connection ended before \"" << text << "\" came";
  }
}

bool HttpClient::AwaitEnd() { return received_.empty() && !ReadMore(); }

HttpReply HttpClient::Get(const std::string& path) {
  Send(absl::StrCat("GET ", path, " HTTP/1.1\r\nHost: x\r\n\r\n"));
  return Read();
}

HttpReply HttpClient::Post(const std::string& path, const std::string& body) {
  Send(absl::StrCat("POST ", path, " HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: ",
                    body.size(), "\r\n\r\n", body));
  return Read();
}

}  // namespace quire
