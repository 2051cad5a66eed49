#include "kernels/cpu/work_loop.h"

namespace quire {

void WorkLoop::Run(int64_t count, absl::FunctionRef<void(int64_t index, int worker)> fn) {
  if (count == 1) return fn(0, 0);  // Nobody need be woken for one.
  if (count <= 0) return;
  shares_.Reset(count);
  pool_.Run([&](int worker) {
    for (int64_t index; (index = shares_.Next(worker)) >= 0;) fn(index, worker);
  });
}

}  // namespace quire
