// ChatHistory: what was said so far and how the next answer is to be sampled, as the request that asks for it. Knows
// no terminal and no network.
#pragma once

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "quire/v1/inference.pb.h"

namespace quire {

class ChatHistory {
 public:
  // Begins with `request`'s model, system message (if it has one) and sampling parameters.
  explicit ChatHistory(v1::ChatRequest request) : request_(std::move(request)) {}

  const v1::ChatRequest& request() const { return request_; }

  void AddQuestion(const std::string& text) { Add("user", text); }
  void AddAnswer(const std::string& text) { Add("assistant", text); }
  // Takes the last answer back, so that its question is the last message. False: there is none.
  bool DropAnswer();
  // Forgets all but the system message.
  void Reset();

  // Empty where there is none.
  std::string system() const;
  // Replaces the system message; empty: removes it.
  void SetSystem(const std::string& text);

  // Sets the sampling parameter `name`, as v1.SamplingParams calls it; the value "default" leaves it to the server.
  // INVALID_ARGUMENT says which there are, or what kind of value it takes. Ranges are for the server to check.
  absl::Status Set(const std::string& name, const std::string& value);
  // A line for each parameter: its name and value.
  std::string DescribeParameters() const;

  // The whole as a v1.ChatRequest in JSON. Errors name the file.
  absl::Status Save(const std::string& path) const;
  // Unless OK, the conversation is as it was.
  absl::Status Load(const std::string& path);

 private:
  bool HasSystem() const { return request_.messages_size() > 0 && request_.messages(0).role() == "system"; }
  void Add(const std::string& role, const std::string& content);

  v1::ChatRequest request_;
};

}  // namespace quire
