#include "engine/scheduler/kv_window.h"

#include "absl/strings/str_cat.h"
#include "engine/types/status_macros.h"
#include "kernels/check.h"

namespace quire {

int KvWindow::NumDropped(int position) const {
  QUIRE_CHECK(bounded());
  if (position < capacity()) return 0;
  return ((position - capacity()) / stride_tokens + 1) * stride_tokens;
}

int KvWindow::EndOfStretch(int position) const { return capacity() + NumDropped(position); }

absl::Status Validate(const KvWindow& window, int block_size) {
  if (!window.bounded()) return absl::OkStatus();
  const auto in_range = [&](const char* name, int tokens, int least, int most) {
    if (least <= tokens && tokens <= most && tokens % block_size == 0) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat("kv_window.", name, " must be a multiple of ", block_size, " in [",
                                                   least, ", ", most, "], got ", tokens));
  };
  constexpr int kMost = 1 << 24;
  RETURN_IF_ERROR(in_range("sink_tokens", window.sink_tokens, 0, kMost));
  RETURN_IF_ERROR(in_range("recent_tokens", window.recent_tokens, block_size, kMost));
  return in_range("stride_tokens", window.stride_tokens, block_size, window.recent_tokens);
}

}  // namespace quire
