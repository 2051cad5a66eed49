#include "tests/fakes/small_gguf.h"

#include "engine/loader/gguf_checkpoint.h"
#include "kernels/check.h"

namespace quire {

GgufWriter SmallGguf() {
  GgufWriter writer;
  writer.SetUint32("general.alignment", 32);
  writer.SetString("name", "quire");
  writer.SetUint32("u32", 4'000'000'000);
  writer.SetUint64("u64", uint64_t{1} << 63);
  writer.SetInt8("i8", -3);
  writer.SetFloat32("f32", 0.5f);
  writer.SetFloat64("f64", 0.25);
  writer.SetBool("bool", true);
  writer.SetStrings("strings", {"a", "", "bc"});
  writer.SetInt32s("ints", {1, -2, 3});
  writer.AddTensor("vector", {3}, GgmlTypeOf(DType::kF32), std::string(12, 'v'));
  writer.AddTensor("matrix", {32, 2}, GgmlTypeOf(DType::kQ8_0), std::string(68, 'm'));
  writer.AddTensor("cube", {2, 2, 2}, GgmlTypeOf(DType::kF16), std::string(16, 'c'));
  writer.AddTensor("exotic", {256}, 10, std::string(84, 'x'));
  return writer;
}

void ExerciseGguf(std::string_view image) {
  const auto bytes = std::as_bytes(std::span(image));
  const auto checkpoint = GgufCheckpoint::Parse(bytes, nullptr);
  const auto file = ParseGguf(bytes);
  QUIRE_CHECK(file.ok() == checkpoint.ok());
  if (!file.ok()) {
    QUIRE_CHECK(file.status().code() == absl::StatusCode::kInvalidArgument);
    return;
  }
  for (const auto& [key, value] : file->metadata) {
    (void)(*checkpoint)->GetString(key);
    (void)(*checkpoint)->GetInt(key);
    (void)(*checkpoint)->GetFloat(key);
    (void)(*checkpoint)->GetBool(key);
    (void)(*checkpoint)->GetStrings(key);
    (void)(*checkpoint)->GetInts(key);
  }
  for (const std::string& name : (*checkpoint)->TensorNames()) {
    const auto tensor = (*checkpoint)->GetTensor(name);
    if (!tensor.ok()) continue;
    const DTypeTraits traits = TraitsOf(tensor->dtype);
    const int64_t num_bytes = tensor->rows * (tensor->cols / traits.block_elements) * traits.block_bytes;
    QUIRE_CHECK(static_cast<int64_t>(tensor->bytes.size()) == num_bytes);
    QUIRE_CHECK(tensor->bytes.data() >= bytes.data());
    QUIRE_CHECK(tensor->bytes.data() + tensor->bytes.size() <= bytes.data() + bytes.size());
  }
  // Reads samples of every tensor.
  (void)(*checkpoint)->Fingerprint();
}

}  // namespace quire
