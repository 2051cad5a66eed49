#include "server/bench/load/sse_parser.h"

#include <algorithm>
#include <utility>

namespace quire {

absl::Status SseParser::Push(std::string_view bytes, const std::function<void(std::string_view)>& on_data) {
  if (bytes.empty()) return absl::OkStatus();
  // The line feed of a pair that was cut.
  if (std::exchange(after_carriage_return_, false) && bytes.front() == '\n') bytes.remove_prefix(1);
  while (!bytes.empty()) {
    const size_t end = bytes.find_first_of("\r\n");
    line_.append(bytes.substr(0, end));
    if (line_.size() + data_.size() > kMaxEventBytes) {
      return absl::ResourceExhaustedError("an event is longer than 16 MiB");
    }
    if (end == std::string_view::npos) return absl::OkStatus();
    EndLine(on_data);
    const bool carriage_return = bytes[end] == '\r';
    bytes.remove_prefix(end + 1);
    if (!carriage_return) continue;
    after_carriage_return_ = bytes.empty();
    if (!bytes.empty() && bytes.front() == '\n') bytes.remove_prefix(1);
  }
  return absl::OkStatus();
}

void SseParser::EndLine(const std::function<void(std::string_view)>& on_data) {
  if (line_.empty()) {
    if (!data_.empty()) on_data(std::string_view(data_).substr(0, data_.size() - 1));
    data_.clear();
  } else if (line_ == "data" || line_.starts_with("data:")) {
    std::string_view value = std::string_view(line_).substr(std::min<size_t>(line_.size(), 5));
    if (value.starts_with(' ')) value.remove_prefix(1);
    data_.append(value).push_back('\n');
  }
  line_.clear();
}

}  // namespace quire
