// A client that sends exactly the bytes that a test gives it.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace quire {

struct HttpReply {
  int status = 0;                              // 0: the connection ended before there was one.
  std::map<std::string, std::string> headers;  // Names in lower case.
  std::string body;                            // Of chunks: put together.
  bool complete = false;                       // By its length, its last chunk, or the end of the connection.

  // The data of server-sent events.
  std::vector<std::string> Events() const;
};

// Blocks; gives up on a server that says nothing for 30 s.
class HttpClient {
 public:
  explicit HttpClient(int port);
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  void Send(const std::string& bytes);
  // The next reply; `to_head` if it answers HEAD and so has no body.
  HttpReply Read(bool to_head = false);
  // Waits until the reply that is coming has `text` somewhere in it.
  void ReadUntil(const std::string& text);
  // Whether the server has closed the connection, or does before it sends anything.
  bool AwaitEnd();
  void Close();

  HttpReply Get(const std::string& path);
  HttpReply Post(const std::string& path, const std::string& body);

 private:
  bool ReadMore();
  std::string TakeLine();
  void TakeBytes(size_t bytes, HttpReply& reply);

  int socket_ = -1;
  std::string received_;
  bool ended_ = false;
};

}  // namespace quire
