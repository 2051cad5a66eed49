// A GGUF file as small as it gets with every kind of value and tensor, and a way to use everything that a file offers.
#pragma once

#include <string_view>

#include "tests/fakes/gguf_writer.h"

namespace quire {

GgufWriter SmallGguf();

// Parses any bytes and, where they are a GGUF file, asks for all of its values and tensors, of the right and the wrong
// kind, so that a sanitizer sees every byte they lead to. QUIRE_CHECKs that refusals are INVALID_ARGUMENT and that
// tensors lie within the bytes.
void ExerciseGguf(std::string_view bytes);

}  // namespace quire
