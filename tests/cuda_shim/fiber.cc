#include "tests/cuda_shim/fiber.h"

#include <sys/mman.h>

#include <utility>

#include "kernels/check.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#endif

namespace quire::cuda_shim {
namespace {

constexpr size_t kGuardBytes = size_t{4} << 10;
#ifdef __SANITIZE_ADDRESS__
constexpr size_t kStackBytes = size_t{256} << 10;  // Checked code keeps its variables apart.
#else
constexpr size_t kStackBytes = size_t{64} << 10;
#endif

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

void StartSwitch([[maybe_unused]] void** fake_stack, [[maybe_unused]] const void* bottom,
                 [[maybe_unused]] size_t size) {
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_start_switch_fiber(fake_stack, bottom, size);
#endif
}

void FinishSwitch([[maybe_unused]] void* fake_stack, [[maybe_unused]] const void** old_bottom,
                  [[maybe_unused]] size_t* old_size) {
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_finish_switch_fiber(fake_stack, old_bottom, old_size);
#endif
}

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
