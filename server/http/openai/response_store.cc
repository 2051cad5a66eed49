#include "server/http/openai/response_store.h"

#include <iterator>

namespace quire {
namespace {

// What an entry costs beside its texts, roughly.
constexpr size_t kEntryBytes = 512;

}  // namespace

void ResponseStore::Add(const std::string& key, StoredResponse response) {
  Entry entry(key, std::make_shared<const StoredResponse>(std::move(response)));
  const size_t bytes = BytesOf(entry);
  std::lock_guard lock(mutex_);
  if (bytes > max_bytes_) return;
  if (const auto same = by_key_.find(key); same != by_key_.end()) RemoveLocked(same->second);
  while (bytes_ + bytes > max_bytes_) RemoveLocked(std::prev(entries_.end()));
  entries_.push_front(std::move(entry));
  by_key_[key] = entries_.begin();
  bytes_ += bytes;
}

std::shared_ptr<const StoredResponse> ResponseStore::Find(const std::string& key) {
  std::lock_guard lock(mutex_);
  const auto found = by_key_.find(key);
  if (found == by_key_.end()) return nullptr;
  entries_.splice(entries_.begin(), entries_, found->second);
  return found->second->second;
}

bool ResponseStore::Remove(const std::string& key) {
  std::lock_guard lock(mutex_);
  const auto found = by_key_.find(key);
  if (found == by_key_.end()) return false;
  RemoveLocked(found->second);
  return true;
}

size_t ResponseStore::BytesOf(const Entry& entry) {
  return kEntryBytes + entry.first.size() + entry.second->response.size() + entry.second->items.size();
}

void ResponseStore::RemoveLocked(std::list<Entry>::iterator entry) {
  bytes_ -= BytesOf(*entry);
  by_key_.erase(entry->first);
  entries_.erase(entry);
}

}  // namespace quire
