// Writes GGUF files, also broken ones: every number of the header is listed with its place, to be overwritten.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/loader/gguf_file.h"

namespace quire {

// A number of the header, or a single value, at bytes [offset, offset + size).
struct GgufField {
  std::string name;
  size_t offset = 0;
  size_t size = 0;
};

struct GgufImage {
  std::string bytes;
  std::vector<GgufField> fields;

  // The image with a field's bytes replaced by the low ones of `value`.
  std::string With(const GgufField& field, uint64_t value) const;
  // The same, of the field with this name. The name must exist.
  std::string With(std::string_view field_name, uint64_t value) const;
};

class GgufWriter {
 public:
  void SetUint32(std::string_view key, uint32_t value) { SetScalar(key, GgufType::kUint32, &value, sizeof(value)); }
  void SetUint64(std::string_view key, uint64_t value) { SetScalar(key, GgufType::kUint64, &value, sizeof(value)); }
  void SetInt8(std::string_view key, int8_t value) { SetScalar(key, GgufType::kInt8, &value, sizeof(value)); }
  void SetFloat32(std::string_view key, float value) { SetScalar(key, GgufType::kFloat32, &value, sizeof(value)); }
  void SetFloat64(std::string_view key, double value) { SetScalar(key, GgufType::kFloat64, &value, sizeof(value)); }
  void SetBool(std::string_view key, bool value);
  void SetString(std::string_view key, std::string_view value);
  void SetStrings(std::string_view key, const std::vector<std::string>& values);
  void SetInt32s(std::string_view key, const std::vector<int32_t>& values);
  // Drops what was set, so that a test can say what is missing.
  void Remove(std::string_view key);

  // `dims` innermost first, as in the file; `type` as numbered by ggml. The offset is the next aligned one.
  void AddTensor(std::string_view name, const std::vector<uint64_t>& dims, uint32_t type, std::string bytes);
  void RemoveTensor(std::string_view name);

  GgufImage Write(uint32_t version = 3) const;

 private:
  struct Entry {
    std::string key;
    bool is_array;
    GgufType type;
    std::vector<std::string> values;  // Numbers: one string with all elements. Strings: one each.
    uint64_t count;
  };
  struct Tensor {
    std::string name;
    std::vector<uint64_t> dims;
    uint32_t type;
    std::string bytes;
  };

  void SetScalar(std::string_view key, GgufType type, const void* value, size_t size);
  void Set(Entry entry);

  std::vector<Entry> entries_;
  std::vector<Tensor> tensors_;
};

// The number that ggml gives a DType.
uint32_t GgmlTypeOf(DType dtype);

// Writes a file into a folder that lives as long as the test program, and returns its path.
std::string WriteTestFile(std::string_view name, std::string_view bytes);

}  // namespace quire
