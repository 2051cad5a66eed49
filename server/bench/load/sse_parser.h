// Reads a stream of server-sent events (WHATWG HTML, 9.2) as its bytes come.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace quire {

class SseParser {
 public:
  // Calls `on_data` with the data of each event that `bytes` completes. Fields other than data are of no use here and
  // ignored. RESOURCE_EXHAUSTED for an event or a line longer than kMaxEventBytes; nothing can be read after that.
  absl::Status Push(std::string_view bytes, const std::function<void(std::string_view)>& on_data);

  static constexpr size_t kMaxEventBytes = 16 << 20;

 private:
  void EndLine(const std::function<void(std::string_view)>& on_data);

  std::string line_;
  std::string data_;  // Of the event being read: each of its lines with a line feed behind it.
  bool after_carriage_return_ = false;
};

}  // namespace quire
