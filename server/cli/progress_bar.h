// A progress bar on standard error, only where that is a terminal.
#pragma once

#include <mutex>
#include <string>

namespace quire {

// Any thread may call Update. The bar is wiped when it ends, so that it leaves no trace among the results.
class ProgressBar {
 public:
  explicit ProgressBar(std::string label);
  ~ProgressBar();
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  void Update(float fraction);

 private:
  const std::string label_;
  const bool visible_;
  std::mutex mutex_;
  int drawn_percent_ = -1;
};

}  // namespace quire
