// RequestNames: which running requests go by which name, for clients that abort them by it.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "server/request_context.h"

namespace quire {

// Thread-safe. Takes memory in proportion to the requests that run: now and then it forgets those that have ended.
class RequestNames {
 public:
  void Add(std::string name, const RequestContextPtr& request);
  // All that run under this name; clients that want to tell theirs apart choose different ones.
  std::vector<RequestContextPtr> Find(const std::string& name);

 private:
  void ForgetEndedLocked();

  std::mutex mutex_;
  absl::flat_hash_map<std::string, std::vector<std::weak_ptr<RequestContext>>> requests_;
  size_t num_requests_ = 0;
  size_t forget_at_ = 64;
};

}  // namespace quire
