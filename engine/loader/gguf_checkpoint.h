// GgufCheckpoint: a model in a GGUF file.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/loader/checkpoint.h"
#include "engine/loader/gguf_file.h"

namespace quire {

class GgufCheckpoint : public Checkpoint {
 public:
  // `bytes` is the whole file; `owner` keeps them alive, or is null where they outlive the checkpoint anyway.
  static absl::StatusOr<std::unique_ptr<GgufCheckpoint>> Parse(std::span<const std::byte> bytes,
                                                               std::shared_ptr<const void> owner);

  absl::StatusOr<std::string> GetString(std::string_view key) const override;
  absl::StatusOr<int64_t> GetInt(std::string_view key) const override;
  absl::StatusOr<double> GetFloat(std::string_view key) const override;
  absl::StatusOr<bool> GetBool(std::string_view key) const override;
  absl::StatusOr<std::vector<std::string>> GetStrings(std::string_view key) const override;
  absl::StatusOr<std::vector<int64_t>> GetInts(std::string_view key) const override;
  bool Has(std::string_view key) const override;

  absl::StatusOr<RawMatrix> GetTensor(std::string_view name) const override;
  bool HasTensor(std::string_view name) const override;
  std::vector<std::string> TensorNames() const override;

  uint64_t Fingerprint() const override;

 private:
  GgufCheckpoint(GgufFile file, std::shared_ptr<const void> owner);

  // The value, if it is an array or not as asked for.
  absl::StatusOr<const GgufValue*> Find(std::string_view key, bool is_array) const;

  const GgufFile file_;
  const std::shared_ptr<const void> owner_;
};

}  // namespace quire
