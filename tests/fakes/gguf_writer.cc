#include "tests/fakes/gguf_writer.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "kernels/check.h"

namespace quire {
namespace {

constexpr size_t kAlignment = 32;

size_t AlignUp(size_t value) { return (value + kAlignment - 1) / kAlignment * kAlignment; }

class ImageBuilder {
 public:
  template <typename T>
  void Number(std::string name, T value) {
    Bytes(std::move(name), std::string(reinterpret_cast<const char*>(&value), sizeof(value)));
  }
  // A field that a test may overwrite, if it is as small as a number.
  void Bytes(std::string name, const std::string& bytes) {
    if (bytes.size() <= sizeof(uint64_t)) image.fields.push_back({std::move(name), image.bytes.size(), bytes.size()});
    image.bytes += bytes;
  }
  void String(const std::string& name, const std::string& text) {
    Number(name + ".length", uint64_t{text.size()});
    image.bytes += text;
  }

  GgufImage image;
};

// A folder of this process, gone when it ends.
class TestFolder {
 public:
  TestFolder() : path_(std::filesystem::temp_directory_path() / ("quire_test_" + std::to_string(getpid()))) {
    std::filesystem::create_directories(path_);
  }
  ~TestFolder() { std::filesystem::remove_all(path_); }
  const std::filesystem::path& path() const { return path_; }

 private:
  const std::filesystem::path path_;
};

}  // namespace

std::string GgufImage::With(const GgufField& field, uint64_t value) const {
  std::string changed = bytes;
  std::memcpy(changed.data() + field.offset, &value, field.size);
  return changed;
}

std::string GgufImage::With(std::string_view field_name, uint64_t value) const {
  const auto field = std::find_if(fields.begin(), fields.end(), [&](const auto& f) { return f.name == field_name; });
  QUIRE_CHECK(field != fields.end());
  return With(*field, value);
}

void GgufWriter::Set(Entry entry) {
  Remove(entry.key);
  entries_.push_back(std::move(entry));
}

void GgufWriter::Remove(std::string_view key) {
  std::erase_if(entries_, [&](const Entry& entry) { return entry.key == key; });
}

void GgufWriter::SetScalar(std::string_view key, GgufType type, const void* value, size_t size) {
  Set({std::string(key), false, type, {std::string(static_cast<const char*>(value), size)}, 1});
}

void GgufWriter::SetBool(std::string_view key, bool value) {
  const uint8_t byte = value ? 1 : 0;
  SetScalar(key, GgufType::kBool, &byte, 1);
}

void GgufWriter::SetString(std::string_view key, std::string_view value) {
  Set({std::string(key), false, GgufType::kString, {std::string(value)}, 1});
}

void GgufWriter::SetStrings(std::string_view key, const std::vector<std::string>& values) {
  Set({std::string(key), true, GgufType::kString, values, values.size()});
}

void GgufWriter::SetInt32s(std::string_view key, const std::vector<int32_t>& values) {
  const std::string bytes(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(int32_t));
  Set({std::string(key), true, GgufType::kInt32, {bytes}, values.size()});
}

void GgufWriter::AddTensor(std::string_view name, const std::vector<uint64_t>& dims, uint32_t type, std::string bytes) {
  tensors_.push_back({std::string(name), dims, type, std::move(bytes)});
}

void GgufWriter::RemoveTensor(std::string_view name) {
  std::erase_if(tensors_, [&](const Tensor& tensor) { return tensor.name == name; });
}

GgufImage GgufWriter::Write(uint32_t version) const {
  ImageBuilder builder;
  builder.Number("magic", uint32_t{0x46554747});
  builder.Number("version", version);
  builder.Number("tensor_count", uint64_t{tensors_.size()});
  builder.Number("key_count", uint64_t{entries_.size()});
  for (const Entry& entry : entries_) {
    builder.String(entry.key + ".key", entry.key);
    if (entry.is_array) builder.Number(entry.key + ".type", GgufType::kArray);
    builder.Number(entry.key + (entry.is_array ? ".element_type" : ".type"), entry.type);
    if (entry.is_array) builder.Number(entry.key + ".count", entry.count);
    for (const std::string& value : entry.values) {
      if (entry.type == GgufType::kString) {
        builder.String(entry.key, value);
      } else {
        builder.Bytes(entry.key + ".value", value);
      }
    }
  }
  size_t offset = 0;
  for (const Tensor& tensor : tensors_) {
    builder.String(tensor.name + ".name", tensor.name);
    builder.Number(tensor.name + ".num_dims", static_cast<uint32_t>(tensor.dims.size()));
    for (const uint64_t dim : tensor.dims) builder.Number(tensor.name + ".dim", dim);
    builder.Number(tensor.name + ".type", tensor.type);
    builder.Number(tensor.name + ".offset", uint64_t{offset});
    offset = AlignUp(offset + tensor.bytes.size());
  }
  std::string& bytes = builder.image.bytes;
  for (const Tensor& tensor : tensors_) {
    bytes.resize(AlignUp(bytes.size()));
    bytes += tensor.bytes;
  }
  return std::move(builder.image);
}

uint32_t GgmlTypeOf(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return 0;
    case DType::kF16:
      return 1;
    case DType::kQ4_0:
      return 2;
    case DType::kQ4_1:
      return 3;
    case DType::kQ5_0:
      return 6;
    case DType::kQ5_1:
      return 7;
    case DType::kQ8_0:
      return 8;
    case DType::kQ4_K:
      return 12;
    case DType::kQ5_K:
      return 13;
    case DType::kQ6_K:
      return 14;
    case DType::kBF16:
      return 30;
  }
  return ~uint32_t{0};
}

std::string WriteTestFile(std::string_view name, std::string_view bytes) {
  static const TestFolder folder;
  const std::filesystem::path path = folder.path() / name;
  std::ofstream file(path, std::ios::binary);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  QUIRE_CHECK(file.flush());
  return path.string();
}

}  // namespace quire
