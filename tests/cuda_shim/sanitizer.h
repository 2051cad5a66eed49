// What AddressSanitizer must be told of stacks that are switched and of memory that must not be touched. Without it the
// functions do nothing.
#pragma once

#include <cstddef>

#if defined(__SANITIZE_ADDRESS__)
#define QUIRE_ADDRESS_SANITIZER
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define QUIRE_ADDRESS_SANITIZER
#endif
#endif

#ifdef QUIRE_ADDRESS_SANITIZER
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace quire::cuda_shim {

#ifdef QUIRE_ADDRESS_SANITIZER
constexpr bool kChecksAddresses = true;
#else
constexpr bool kChecksAddresses = false;
#endif

// Before and after a switch to the stack at `bottom`. What StartSwitch leaves in *fake_stack belongs to the stack that
// is left, and goes to FinishSwitch when that one is come back to; FinishSwitch tells which stack was left for it.
inline void StartSwitch([[maybe_unused]] void** fake_stack, [[maybe_unused]] const void* bottom,
                        [[maybe_unused]] size_t size) {
#ifdef QUIRE_ADDRESS_SANITIZER
  __sanitizer_start_switch_fiber(fake_stack, bottom, size);
#endif
}

inline void FinishSwitch([[maybe_unused]] void* fake_stack, [[maybe_unused]] const void** left_bottom,
                         [[maybe_unused]] size_t* left_size) {
#ifdef QUIRE_ADDRESS_SANITIZER
  __sanitizer_finish_switch_fiber(fake_stack, left_bottom, left_size);
#endif
}

inline void Forbid([[maybe_unused]] const void* address, [[maybe_unused]] size_t bytes) {
#ifdef QUIRE_ADDRESS_SANITIZER
  __asan_poison_memory_region(address, bytes);
#endif
}

inline void Allow([[maybe_unused]] const void* address, [[maybe_unused]] size_t bytes) {
#ifdef QUIRE_ADDRESS_SANITIZER
  __asan_unpoison_memory_region(address, bytes);
#endif
}

}  // namespace quire::cuda_shim
