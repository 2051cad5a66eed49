// What K and V may be kept in, for tests that go through all of it.
#pragma once

#include <ostream>
#include <string>

#include "kernels/paged_kv.h"

namespace quire {

struct KvTypes {
  KvDType key = KvDType::kBF16;
  KvDType value = KvDType::kBF16;
};

inline constexpr KvTypes kBFloat16Kv = {KvDType::kBF16, KvDType::kBF16};
inline constexpr KvTypes kInt8Kv = {KvDType::kInt8, KvDType::kInt8};
inline constexpr KvTypes kInt8Int4Kv = {KvDType::kInt8, KvDType::kInt4};
inline constexpr KvTypes kInt4Kv = {KvDType::kInt4, KvDType::kInt4};
inline constexpr KvTypes kInt4Int8Kv = {KvDType::kInt4, KvDType::kInt8};
inline constexpr KvTypes kFp8Kv = {KvDType::kFp8, KvDType::kFp8};  // On a GPU only.
// On the CPU.
inline constexpr KvTypes kEveryKv[] = {kBFloat16Kv, kInt8Kv, kInt8Int4Kv, kInt4Int8Kv, kInt4Kv};
// Those that have a use of their own.
inline constexpr KvTypes kUsefulKv[] = {kBFloat16Kv, kInt8Kv, kInt8Int4Kv, kInt4Kv};

inline std::string NameOf(KvDType dtype) {
  switch (dtype) {
    case KvDType::kF32:
      return "f32";
    case KvDType::kBF16:
      return "bf16";
    case KvDType::kInt8:
      return "int8";
    case KvDType::kInt4:
      return "int4";
    case KvDType::kFp8:
      return "fp8";
  }
  return "";
}

// "int8", or "int8_int4" where K and V differ.
inline std::string NameOf(const KvTypes& types) {
  return types.key == types.value ? NameOf(types.key) : NameOf(types.key) + "_" + NameOf(types.value);
}

inline void PrintTo(const KvTypes& types, std::ostream* out) { *out << NameOf(types); }

}  // namespace quire
