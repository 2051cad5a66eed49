// Any bytes as a model file.
#include <cstddef>
#include <cstdint>

#include "tests/fakes/small_gguf.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  quire::ExerciseGguf({reinterpret_cast<const char*>(data), size});
  return 0;
}
