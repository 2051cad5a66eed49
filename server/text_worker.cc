#include "server/text_worker.h"

namespace quire {

TextWorker::TextWorker(size_t capacity) : jobs_(capacity), thread_([this] { Run(); }) {}

TextWorker::~TextWorker() {
  jobs_.Close();
  thread_.join();
}

void TextWorker::Run() {
  std::vector<Job> batch;
  while (jobs_.TakeAll(batch, /*wait=*/true)) {
    for (Job& job : batch) job();
  }
}

}  // namespace quire
