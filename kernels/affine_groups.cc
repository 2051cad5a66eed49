#include "kernels/affine_groups.h"

#include <cstring>

#include "kernels/check.h"
#include "kernels/float16.h"

namespace quire {
namespace {

constexpr int kGroupsPerSuperBlock = 8;

uint8_t ByteAt(const std::byte* bytes, int64_t index) { return std::to_integer<uint8_t>(bytes[index]); }

float Float16At(const std::byte* bytes) {
  uint16_t bits;
  std::memcpy(&bits, bytes, sizeof(bits));
  return FromFloat16(bits);
}

// 16 bytes hold 32 codes: the first half in the low nibbles, the second in the high ones.
void SplitNibbles(const std::byte* nibbles, AffineGroup& out) {
  for (int i = 0; i < 16; ++i) {
    out.codes[i] = ByteAt(nibbles, i) & 15;
    out.codes[i + 16] = ByteAt(nibbles, i) >> 4;
  }
}

// Adds 16 to the codes whose bit is set in a 32-bit mask.
void AddFifthBits(const std::byte* mask, AffineGroup& out) {
  uint32_t bits;
  std::memcpy(&bits, mask, sizeof(bits));
  for (int i = 0; i < kGroupSize; ++i) out.codes[i] |= (bits >> i & 1) << 4;
}

void SetScale(float scale, float offset, AffineGroup& out) {
  out.scales[0] = out.scales[1] = scale;
  out.offset = offset;
}

// Q4_K and Q5_K: float16 d and dmin, then eight 6-bit pairs in 12 bytes: the first four scales and minima in the low
// bits of bytes 0-3 and 4-7, the last four as nibbles in 8-11 with their upper two bits on top of the former.
void DecodeSuperBlockScale(const std::byte* block, int sub, AffineGroup& out) {
  const std::byte* packed = block + 4;
  int scale, minimum;
  if (sub < 4) {
    scale = ByteAt(packed, sub) & 63;
    minimum = ByteAt(packed, sub + 4) & 63;
  } else {
    scale = (ByteAt(packed, sub + 4) & 15) | (ByteAt(packed, sub - 4) >> 6 << 4);
    minimum = ByteAt(packed, sub + 4) >> 4 | (ByteAt(packed, sub) >> 6 << 4);
  }
  SetScale(Float16At(block) * static_cast<float>(scale), -(Float16At(block + 2) * static_cast<float>(minimum)), out);
}

// Two groups share 32 bytes, the even one in the low nibbles.
void DecodeSuperBlockNibbles(const std::byte* nibbles, int sub, AffineGroup& out) {
  for (int i = 0; i < kGroupSize; ++i) {
    out.codes[i] = ByteAt(nibbles, 32 * (sub / 2) + i) >> (4 * (sub % 2)) & 15;
  }
}

void DecodeQ5K(const std::byte* block, int sub, AffineGroup& out) {
  DecodeSuperBlockScale(block, sub, out);
  DecodeSuperBlockNibbles(block + 48, sub, out);
  for (int i = 0; i < kGroupSize; ++i) out.codes[i] |= (ByteAt(block + 16, i) >> sub & 1) << 4;
}

// 128 bytes of low nibbles, 64 of upper two bits, 16 signed scales, and a float16 d. Each half of the super-block keeps
// its four groups in 64 bytes of nibbles (two groups in the low, two in the high ones) and in the bit pairs of 32
// bytes.
void DecodeQ6K(const std::byte* block, int sub, AffineGroup& out) {
  const int half = sub / 4, quarter = sub % 4;
  const std::byte* low = block + 64 * half + 32 * (quarter % 2);
  const std::byte* high = block + 128 + 32 * half;
  for (int i = 0; i < kGroupSize; ++i) {
    const int code = (ByteAt(low, i) >> (4 * (quarter / 2)) & 15) | (ByteAt(high, i) >> (2 * quarter) & 3) << 4;
    out.codes[i] = static_cast<uint8_t>(code - 32 + 128);
  }
  const float d = Float16At(block + 208);
  for (int i = 0; i < 2; ++i) {
    out.scales[i] = d * static_cast<float>(static_cast<int8_t>(ByteAt(block, 192 + 2 * sub + i)));
  }
  out.offset = 0;
}

}  // namespace

void DecodeGroup(DType dtype, const std::byte* row, int64_t group, AffineGroup& out) {
  const DTypeTraits traits = TraitsOf(dtype);
  const int64_t groups_per_block = traits.block_elements / kGroupSize;
  const std::byte* block = row + group / groups_per_block * traits.block_bytes;
  const int sub = static_cast<int>(group % kGroupsPerSuperBlock);
  switch (dtype) {
    case DType::kQ4_0:
      SetScale(Float16At(block), 0, out);
      return SplitNibbles(block + 2, out);
    case DType::kQ4_1:
      SetScale(Float16At(block), Float16At(block + 2), out);
      return SplitNibbles(block + 4, out);
    case DType::kQ5_0:
      SetScale(Float16At(block), 0, out);
      SplitNibbles(block + 6, out);
      AddFifthBits(block + 2, out);
      for (uint8_t& code : out.codes) code += 128 - 16;
      return;
    case DType::kQ5_1:
      SetScale(Float16At(block), Float16At(block + 2), out);
      SplitNibbles(block + 8, out);
      return AddFifthBits(block + 4, out);
    case DType::kQ8_0:
      SetScale(Float16At(block), 0, out);
      for (int i = 0; i < kGroupSize; ++i) out.codes[i] = ByteAt(block + 2, i) ^ 0x80;
      return;
    case DType::kQ4_K:
      DecodeSuperBlockScale(block, sub, out);
      return DecodeSuperBlockNibbles(block + 16, sub, out);
    case DType::kQ5_K:
      return DecodeQ5K(block, sub, out);
    case DType::kQ6_K:
      return DecodeQ6K(block, sub, out);
    case DType::kF32:
    case DType::kF16:
    case DType::kBF16:
      break;
  }
  QUIRE_CHECK(IsQuantized(dtype));
}

}  // namespace quire
