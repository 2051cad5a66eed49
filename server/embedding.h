// What is done to an embedding after the engine has made it.
#pragma once

#include <span>

namespace quire {

// Scales it to length 1, in a fixed order of additions; zeros stay zeros.
void Normalize(std::span<float> embedding);

}  // namespace quire
