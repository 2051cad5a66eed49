#include "server/grpc/vllm/request_names.h"

#include <algorithm>
#include <utility>

namespace quire {

void RequestNames::Add(std::string name, const RequestContextPtr& request) {
  std::lock_guard lock(mutex_);
  requests_[std::move(name)].push_back(request);
  if (++num_requests_ >= forget_at_) ForgetEndedLocked();
}

std::vector<RequestContextPtr> RequestNames::Find(const std::string& name) {
  std::lock_guard lock(mutex_);
  std::vector<RequestContextPtr> running;
  const auto found = requests_.find(name);
  if (found == requests_.end()) return running;
  for (const auto& request : found->second) {
    if (RequestContextPtr alive = request.lock()) running.push_back(std::move(alive));
  }
  return running;
}

void RequestNames::ForgetEndedLocked() {
  num_requests_ = 0;
  for (auto it = requests_.begin(); it != requests_.end();) {
    auto entry = it++;
    std::erase_if(entry->second, [](const auto& request) { return request.expired(); });
    num_requests_ += entry->second.size();
    if (entry->second.empty()) requests_.erase(entry);
  }
  forget_at_ = std::max<size_t>(64, 2 * num_requests_);
}

}  // namespace quire
