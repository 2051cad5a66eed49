// A thread of a kernel: a stack of its own on which a function runs until it suspends itself.
#pragma once

#include <cstddef>
#include <functional>

#include <boost/context/fiber.hpp>

namespace quire::cuda_shim {

class Fiber {
 public:
  // Resume() will run `body`, again from the start whenever it has returned. The fiber lives as long as the process:
  // its stack is used for one block after the other.
  explicit Fiber(std::function<void()> body);
  Fiber(const Fiber&) = delete;

  // From outside: runs the body until it suspends.
  void Resume();
  // From inside: returns to where Resume was called.
  void Suspend();

 private:
  // What AddressSanitizer wants to know of a stack that is left for another.
  struct Stack {
    void* fake_stack = nullptr;
    const void* bottom = nullptr;
    size_t size = 0;
  };

  std::function<void()> body_;
  boost::context::fiber inside_;
  boost::context::fiber outside_;
  Stack inside_stack_;
  Stack outside_stack_;
};

}  // namespace quire::cuda_shim
