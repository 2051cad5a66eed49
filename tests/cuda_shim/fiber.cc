#include "tests/cuda_shim/fiber.h"

#include <sys/mman.h>

#include <utility>

#include "kernels/check.h"
#include "tests/cuda_shim/sanitizer.h"

namespace quire::cuda_shim {
namespace {

constexpr size_t kGuardBytes = size_t{4} << 10;
// Checked code keeps its variables apart.
constexpr size_t kStackBytes = size_t{kChecksAddresses ? 256 : 64} << 10;

// Stacks for boost::context::fiber; what grows out of one meets a page that nobody may touch.
struct GuardedStack {
  boost::context::stack_context allocate() {
    void* memory = mmap(nullptr, kGuardBytes + kStackBytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    QUIRE_CHECK(memory != MAP_FAILED);
    QUIRE_CHECK(mprotect(memory, kGuardBytes, PROT_NONE) == 0);
    boost::context::stack_context stack;
    stack.size = kStackBytes;
    stack.sp = static_cast<std::byte*>(memory) + kGuardBytes + kStackBytes;
    *bottom = static_cast<std::byte*>(memory) + kGuardBytes;
    return stack;
  }
  void deallocate(boost::context::stack_context&) noexcept {}

  const void** bottom;
};

}  // namespace

Fiber::Fiber(std::function<void()> body) : body_(std::move(body)) {
  inside_stack_.size = kStackBytes;
  const auto loop = [this](boost::context::fiber&& outside) {
    outside_ = std::move(outside);
    FinishSwitch(nullptr, &outside_stack_.bottom, &outside_stack_.size);
    for (;;) body_();
    return std::move(outside_);
  };
  inside_ = boost::context::fiber(std::allocator_arg, GuardedStack{&inside_stack_.bottom}, loop);
}

void Fiber::Resume() {
  StartSwitch(&outside_stack_.fake_stack, inside_stack_.bottom, inside_stack_.size);
  inside_ = std::move(inside_).resume();
  FinishSwitch(outside_stack_.fake_stack, nullptr, nullptr);
}

void Fiber::Suspend() {
  StartSwitch(&inside_stack_.fake_stack, outside_stack_.bottom, outside_stack_.size);
  outside_ = std::move(outside_).resume();
  FinishSwitch(inside_stack_.fake_stack, &outside_stack_.bottom, &outside_stack_.size);
}

}  // namespace quire::cuda_shim
