#include "engine/loader/gguf_file.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/loader/byte_reader.h"
#include "engine/loader/checked_math.h"
#include "engine/loader/quoted.h"
#include "engine/types/annotate.h"
#include "engine/types/status_macros.h"

namespace quire {
namespace {

constexpr uint32_t kMagic = 0x46554747;  // "GGUF"
// What a real file stays far below; they bound the memory that a hostile one costs.
constexpr size_t kMaxHeaderBytes = size_t{64} << 20;
constexpr uint64_t kMaxKeys = 1 << 16;
constexpr uint64_t kMaxTensors = 1 << 16;
constexpr uint64_t kMaxArrayElements = 1 << 20;
constexpr uint64_t kMaxNameBytes = 65535;
constexpr uint32_t kMaxDims = 4;
constexpr uint32_t kDefaultAlignment = 32;
constexpr uint32_t kMinAlignment = 8;

// Bytes of one element; 0 for strings, whose length varies, and for what is not a type of element.
uint64_t FixedSize(GgufType type) {
  switch (type) {
    case GgufType::kUint8:
    case GgufType::kInt8:
    case GgufType::kBool:
      return 1;
    case GgufType::kUint16:
    case GgufType::kInt16:
      return 2;
    case GgufType::kUint32:
    case GgufType::kInt32:
    case GgufType::kFloat32:
      return 4;
    case GgufType::kUint64:
    case GgufType::kInt64:
    case GgufType::kFloat64:
      return 8;
    case GgufType::kString:
    case GgufType::kArray:
      return 0;
  }
  return 0;
}

std::optional<DType> DTypeOf(uint32_t type) {
  switch (type) {
    case 0:
      return DType::kF32;
    case 1:
      return DType::kF16;
    case 2:
      return DType::kQ4_0;
    case 3:
      return DType::kQ4_1;
    case 6:
      return DType::kQ5_0;
    case 7:
      return DType::kQ5_1;
    case 8:
      return DType::kQ8_0;
    case 12:
      return DType::kQ4_K;
    case 13:
      return DType::kQ5_K;
    case 14:
      return DType::kQ6_K;
    case 30:
      return DType::kBF16;
    default:
      return std::nullopt;
  }
}

absl::StatusOr<std::string_view> ReadString(ByteReader& reader, std::string_view what) {
  ASSIGN_OR_RETURN(const uint64_t size, reader.ReadNumber<uint64_t>(what));
  ASSIGN_OR_RETURN(const std::span<const std::byte> bytes, reader.Read(size, what));
  return std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

absl::StatusOr<std::string_view> ReadName(ByteReader& reader, std::string_view what) {
  ASSIGN_OR_RETURN(const std::string_view name, ReadString(reader, what));
  if (name.empty() || name.size() > kMaxNameBytes) {
    return reader.Error(absl::StrCat(AbslView(what), " must have 1 to ", kMaxNameBytes, " bytes, got ", name.size()));
  }
  return name;
}

absl::StatusOr<GgufType> ReadType(ByteReader& reader, std::string_view what) {
  ASSIGN_OR_RETURN(const uint32_t type, reader.ReadNumber<uint32_t>(what));
  if (type > static_cast<uint32_t>(GgufType::kFloat64)) {
    return reader.Error(absl::StrCat(AbslView(what), " is ", type, ", which is not a type of GGUF"));
  }
  return static_cast<GgufType>(type);
}

absl::StatusOr<uint64_t> ReadCount(ByteReader& reader, std::string_view what, uint64_t most) {
  ASSIGN_OR_RETURN(const uint64_t count, reader.ReadNumber<uint64_t>(what));
  if (count > most)
    return reader.Error(absl::StrCat(AbslView(what), " is ", count, "; at most ", most, " are supported"));
  return count;
}

absl::StatusOr<GgufValue> ReadValue(ByteReader& reader) {
  GgufValue value;
  ASSIGN_OR_RETURN(value.type, ReadType(reader, "the type"));
  if (value.type == GgufType::kArray) {
    value.is_array = true;
    ASSIGN_OR_RETURN(value.type, ReadType(reader, "the array's element type"));
    if (value.type == GgufType::kArray) return reader.Error("an array of arrays is not supported");
    ASSIGN_OR_RETURN(value.count, ReadCount(reader, "the array's length", kMaxArrayElements));
  }
  const size_t begin = reader.offset();
  if (value.type == GgufType::kString) {
    for (uint64_t i = 0; i < value.count; ++i) RETURN_IF_ERROR(ReadString(reader, "a string").status());
  } else {
    RETURN_IF_ERROR(reader.Read(value.count * FixedSize(value.type), "the value").status());
  }
  value.bytes = reader.Since(begin);
  if (value.type == GgufType::kBool && !value.is_array && std::to_integer<int>(value.bytes[0]) > 1) {
    return reader.Error(absl::StrCat("a bool must be 0 or 1, got ", std::to_integer<int>(value.bytes[0])));
  }
  return value;
}

absl::Status ReadMetadata(ByteReader& reader, uint64_t num_keys, GgufFile& file) {
  for (uint64_t i = 0; i < num_keys; ++i) {
    ASSIGN_OR_RETURN(const std::string_view key, ReadName(reader, absl::StrCat("metadata key ", i)));
    absl::StatusOr<GgufValue> value = ReadValue(reader);
    if (!value.ok()) return Annotate(value.status(), absl::StrCat("metadata ", Quoted(key)));
    if (!file.metadata.emplace(key, *value).second) {
      return reader.Error(absl::StrCat("metadata ", Quoted(key), " occurs twice"));
    }
  }
  return absl::OkStatus();
}

// Everything about a tensor but where its data lies.
absl::StatusOr<GgufTensor> ReadTensorInfo(ByteReader& reader) {
  GgufTensor tensor;
  ASSIGN_OR_RETURN(const uint32_t num_dims, reader.ReadNumber<uint32_t>("the number of dimensions"));
  if (num_dims < 1 || num_dims > kMaxDims) {
    return reader.Error(absl::StrCat("a tensor has 1 to ", kMaxDims, " dimensions, got ", num_dims));
  }
  for (uint32_t i = 0; i < num_dims; ++i) {
    ASSIGN_OR_RETURN(const uint64_t size, reader.ReadNumber<uint64_t>("a dimension"));
    if (size == 0) return reader.Error(absl::StrCat("dimension ", i, " is 0"));
    if (i == 0 || size > 1) tensor.num_dims = static_cast<int>(i) + 1;
    uint64_t& target = i == 0 ? tensor.cols : tensor.rows;
    const std::optional<uint64_t> product = CheckedMultiply(target, size);
    if (!product) return reader.Error("the product of the dimensions does not fit 64 bits");
    target = *product;
  }
  const std::optional<uint64_t> elements = CheckedMultiply(tensor.rows, tensor.cols);
  if (!elements || *elements > uint64_t{std::numeric_limits<int64_t>::max()}) {
    return reader.Error("the product of the dimensions does not fit 63 bits");
  }
  ASSIGN_OR_RETURN(tensor.type, reader.ReadNumber<uint32_t>("the tensor's type"));
  tensor.dtype = DTypeOf(tensor.type);
  ASSIGN_OR_RETURN(tensor.offset, reader.ReadNumber<uint64_t>("the tensor's offset"));
  return tensor;
}

absl::Status ReadTensorList(ByteReader& reader, uint64_t num_tensors, GgufFile& file) {
  for (uint64_t i = 0; i < num_tensors; ++i) {
    ASSIGN_OR_RETURN(const std::string_view name, ReadName(reader, absl::StrCat("the name of tensor ", i)));
    absl::StatusOr<GgufTensor> tensor = ReadTensorInfo(reader);
    if (!tensor.ok()) return Annotate(tensor.status(), absl::StrCat("tensor ", Quoted(name)));
    if (!file.tensors.emplace(name, *tensor).second) {
      return reader.Error(absl::StrCat("tensor ", Quoted(name), " occurs twice"));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<uint32_t> Alignment(const GgufFile& file) {
  const auto found = file.metadata.find("general.alignment");
  if (found == file.metadata.end()) return kDefaultAlignment;
  const GgufValue& value = found->second;
  if (value.type != GgufType::kUint32 || value.is_array) {
    return absl::InvalidArgumentError("metadata 'general.alignment' must be a uint32");
  }
  uint32_t alignment = 0;
  std::memcpy(&alignment, value.bytes.data(), sizeof(alignment));
  if (!std::has_single_bit(alignment) || alignment < kMinAlignment) {
    return absl::InvalidArgumentError(absl::StrCat("metadata 'general.alignment' must be a power of two and at least ",
                                                   kMinAlignment, ", got ", alignment));
  }
  return alignment;
}

absl::Status LocateTensor(std::span<const std::byte> data, uint32_t alignment, GgufTensor& tensor) {
  if (tensor.offset % alignment != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("offset ", tensor.offset, " is not a multiple of the alignment, ", alignment));
  }
  if (tensor.offset >= data.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("offset ", tensor.offset, " lies beyond the tensor data, which has ", data.size(), " bytes"));
  }
  if (!tensor.dtype) return absl::OkStatus();
  const DTypeTraits traits = TraitsOf(*tensor.dtype);
  if (tensor.cols % traits.block_elements != 0) {
    return absl::InvalidArgumentError(absl::StrCat("a row of ", AbslView(traits.name), " must be a multiple of ",
                                                   traits.block_elements, " elements, got ", tensor.cols));
  }
  // rows * cols fits, so the number of blocks does.
  const std::optional<uint64_t> size =
      CheckedMultiply(tensor.rows * (tensor.cols / traits.block_elements), traits.block_bytes);
  if (!size || *size > data.size() - tensor.offset) {
    return absl::InvalidArgumentError(absl::StrCat("its ", tensor.rows, " x ", tensor.cols, " elements do not fit the ",
                                                   data.size() - tensor.offset, " bytes from offset ", tensor.offset,
                                                   " to the end of the file"));
  }
  tensor.bytes = data.subspan(tensor.offset, *size);
  return absl::OkStatus();
}

absl::Status CheckDisjoint(const GgufFile& file) {
  std::vector<std::pair<uint64_t, const std::pair<const std::string_view, GgufTensor>*>> by_offset;
  by_offset.reserve(file.tensors.size());
  for (const auto& entry : file.tensors) by_offset.emplace_back(entry.second.offset, &entry);
  std::sort(by_offset.begin(), by_offset.end());
  for (size_t i = 1; i < by_offset.size(); ++i) {
    const auto& [name, tensor] = *by_offset[i - 1].second;
    // A tensor of unknown size takes at least a byte.
    const uint64_t end = tensor.offset + std::max<uint64_t>(tensor.bytes.size(), 1);
    if (end > by_offset[i].first) {
      return absl::InvalidArgumentError(
          absl::StrCat("tensor ", Quoted(name), " overlaps tensor ", Quoted(by_offset[i].second->first)));
    }
  }
  return absl::OkStatus();
}

absl::Status LocateTensors(std::span<const std::byte> bytes, GgufFile& file) {
  ASSIGN_OR_RETURN(const uint32_t alignment, Alignment(file));
  const std::optional<uint64_t> begin = CheckedAlignUp(file.header.size(), alignment);
  const bool has_data = begin && *begin < bytes.size();
  const std::span<const std::byte> data = has_data ? bytes.subspan(*begin) : std::span<const std::byte>();
  for (auto& [name, tensor] : file.tensors) {
    const absl::Status status = LocateTensor(data, alignment, tensor);
    if (!status.ok()) return Annotate(status, absl::StrCat("tensor ", Quoted(name)));
  }
  return CheckDisjoint(file);
}

absl::Status CheckVersion(uint32_t version) {
  if (version == 2 || version == 3) return absl::OkStatus();
  if (version == 0x02000000 || version == 0x03000000) {
    return absl::InvalidArgumentError("byte 4: the file is big endian; only little endian ones are supported");
  }
  return absl::InvalidArgumentError(absl::StrCat("byte 4: GGUF version must be 2 or 3, got ", version));
}

}  // namespace

std::string_view NameOf(GgufType type) {
  static constexpr std::string_view kNames[] = {"uint8", "int8",   "uint16", "int16",  "uint32", "int32",  "float32",
                                                "bool",  "string", "array",  "uint64", "int64",  "float64"};
  return kNames[static_cast<size_t>(type)];
}

absl::StatusOr<GgufFile> ParseGguf(std::span<const std::byte> bytes) {
  const bool limited = bytes.size() > kMaxHeaderBytes;
  ByteReader reader(bytes.first(std::min(bytes.size(), kMaxHeaderBytes)),
                    limited ? "the 64 MiB that metadata and list of tensors may take" : "the file");
  ASSIGN_OR_RETURN(const uint32_t magic, reader.ReadNumber<uint32_t>("the magic number"));
  if (magic != kMagic) return absl::InvalidArgumentError("byte 0: not a GGUF file: it does not begin with 'GGUF'");
  ASSIGN_OR_RETURN(const uint32_t version, reader.ReadNumber<uint32_t>("the version"));
  RETURN_IF_ERROR(CheckVersion(version));
  ASSIGN_OR_RETURN(const uint64_t num_tensors, ReadCount(reader, "the number of tensors", kMaxTensors));
  ASSIGN_OR_RETURN(const uint64_t num_keys, ReadCount(reader, "the number of metadata keys", kMaxKeys));
  GgufFile file;
  RETURN_IF_ERROR(ReadMetadata(reader, num_keys, file));
  RETURN_IF_ERROR(ReadTensorList(reader, num_tensors, file));
  file.header = reader.Since(0);
  RETURN_IF_ERROR(LocateTensors(bytes, file));
  return file;
}

}  // namespace quire
