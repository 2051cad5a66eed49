// The rotation under which keys are rounded to int8.
#pragma once

#include <span>

namespace quire {

// Multiplies a key by a Hadamard matrix, or each of its equal parts by one where its length is no power of two. Keys
// have a few dimensions that are much larger than the rest; spread over all, they make the greatest element smaller,
// and with it the step of the rounding. Scores stay what they are if queries are rotated too and divided by
// RotatedPart().
void RotateKey(std::span<float> key);

// The length of a part, a power of two.
constexpr int RotatedPart(int head_dim) { return head_dim & -head_dim; }

}  // namespace quire
