// What sessions may take of the server.
#pragma once

#include <string>

#include "absl/time/time.h"

namespace quire {

struct SessionOptions {
  int max_sessions = 1000;  // Each holds max_model_len tokens at most.
  absl::Duration idle_timeout = absl::Minutes(30);
  std::string path;  // Folder for snapshots; empty: none can be taken.
};

}  // namespace quire
