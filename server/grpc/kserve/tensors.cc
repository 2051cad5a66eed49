#include "server/grpc/kserve/tensors.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/types/status_macros.h"
#include "server/status_details.h"

namespace quire::kserve {
namespace {

constexpr size_t kLengthBytes = 4;

void AppendLittleEndian(uint32_t value, std::string& out) {
  for (int shift = 0; shift < 32; shift += 8) out.push_back(static_cast<char>(value >> shift));
}

uint32_t ReadLittleEndian(const std::string& bytes) {
  uint32_t value = 0;
  for (size_t i = 0; i < kLengthBytes; ++i) value |= uint32_t{static_cast<unsigned char>(bytes[i])} << (8 * i);
  return value;
}

absl::Status CheckKind(const InputTensor& tensor, const char* datatype) {
  if (tensor.datatype() != datatype) {
    return InvalidField(tensor.name(), absl::StrCat("must be of datatype ", datatype, ", got ", tensor.datatype()));
  }
  const bool one_element = std::all_of(tensor.shape().begin(), tensor.shape().end(), [](int64_t n) { return n == 1; });
  if (!one_element) {
    return InvalidField(tensor.name(), absl::StrCat("must have one element, as shape [1], got shape [",
                                                    absl::StrJoin(tensor.shape(), ", "), "]"));
  }
  return absl::OkStatus();
}

absl::Status WrongContents(const InputTensor& tensor, const char* expected) {
  return InvalidField(tensor.name(), absl::StrCat("must hold one element: ", expected));
}

inference::ModelInferResponse::InferOutputTensor& AddOutput(const std::string& name, const char* datatype, size_t size,
                                                            inference::ModelInferResponse& response) {
  auto& tensor = *response.add_outputs();
  tensor.set_name(name);
  tensor.set_datatype(datatype);
  tensor.add_shape(static_cast<int64_t>(size));
  return tensor;
}

}  // namespace

absl::StatusOr<std::string> ReadBytes(const InputTensor& tensor, const std::string* raw) {
  RETURN_IF_ERROR(CheckKind(tensor, "BYTES"));
  if (raw == nullptr) {
    if (tensor.contents().bytes_contents_size() != 1) return WrongContents(tensor, "one entry in bytes_contents");
    return tensor.contents().bytes_contents(0);
  }
  if (raw->size() < kLengthBytes || ReadLittleEndian(*raw) != raw->size() - kLengthBytes) {
    return WrongContents(tensor, "its length in four bytes, little-endian, and that many bytes");
  }
  return raw->substr(kLengthBytes);
}

absl::StatusOr<bool> ReadBool(const InputTensor& tensor, const std::string* raw) {
  RETURN_IF_ERROR(CheckKind(tensor, "BOOL"));
  if (raw == nullptr) {
    if (tensor.contents().bool_contents_size() != 1) return WrongContents(tensor, "one entry in bool_contents");
    return tensor.contents().bool_contents(0);
  }
  if (raw->size() != 1) return WrongContents(tensor, "one byte");
  return raw->front() != 0;
}

void AddBytesOutput(const std::string& name, const std::vector<std::string>& elements,
                    inference::ModelInferResponse& response) {
  AddOutput(name, "BYTES", elements.size(), response);
  std::string& raw = *response.add_raw_output_contents();
  for (const std::string& element : elements) {
    AppendLittleEndian(static_cast<uint32_t>(element.size()), raw);
    raw += element;
  }
}

void AddUint32Output(const std::string& name, const std::vector<uint32_t>& elements,
                     inference::ModelInferResponse& response) {
  AddOutput(name, "UINT32", elements.size(), response);
  std::string& raw = *response.add_raw_output_contents();
  for (const uint32_t element : elements) AppendLittleEndian(element, raw);
}

}  // namespace quire::kserve
