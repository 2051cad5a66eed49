#include "server/cli/progress_bar.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <utility>

namespace quire {
namespace {
constexpr int kWidth = 40;
}

ProgressBar::ProgressBar(std::string label) : label_(std::move(label)), visible_(isatty(STDERR_FILENO) != 0) {}

ProgressBar::~ProgressBar() {
  if (visible_ && drawn_percent_ >= 0) std::fputs("\r\033[K", stderr);
}

void ProgressBar::Update(float fraction) {
  if (!visible_) return;
  const int percent = std::clamp(static_cast<int>(fraction * 100), 0, 100);
  std::lock_guard lock(mutex_);
  // Several threads report out of order; a bar never goes back.
  if (percent <= drawn_percent_) return;
  drawn_percent_ = percent;
  const int filled = percent * kWidth / 100;
  std::fprintf(stderr, "\r%s [%s%s] %3d %%", label_.c_str(), std::string(filled, '#').c_str(),
               std::string(kWidth - filled, ' ').c_str(), percent);
  std::fflush(stderr);
}

}  // namespace quire
