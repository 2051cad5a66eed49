// ResponseStore: answers of /v1/responses that clients may come back to, for as long as there is room.
#pragma once

#include <cstddef>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <utility>

namespace quire {

struct StoredResponse {
  std::string response;  // As the client was told it: JSON.
  std::string items;     // The conversation up to its end, without instructions: JSON objects with commas between them.
  size_t input_bytes = 0;  // So much of it is what the response answers.
};

// What a tenant's response is kept under: to others it is not there.
inline std::string ResponseKey(const std::string& tenant, const std::string& id) { return tenant + "/" + id; }

// Thread-safe. What was used least lately makes room for what is new. Nothing outlives the server.
class ResponseStore {
 public:
  explicit ResponseStore(size_t max_bytes) : max_bytes_(max_bytes) {}

  // Keeps nothing that is larger than all of the room.
  void Add(const std::string& key, StoredResponse response);
  // Null if it is not there, or no more.
  std::shared_ptr<const StoredResponse> Find(const std::string& key);
  // Whether it was there.
  bool Remove(const std::string& key);

 private:
  using Entry = std::pair<std::string, std::shared_ptr<const StoredResponse>>;

  static size_t BytesOf(const Entry& entry);
  void RemoveLocked(std::list<Entry>::iterator entry);

  const size_t max_bytes_;
  std::mutex mutex_;
  std::list<Entry> entries_;  // Used last comes first.
  std::unordered_map<std::string, std::list<Entry>::iterator> by_key_;
  size_t bytes_ = 0;
};

}  // namespace quire
