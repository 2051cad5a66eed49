// Checkpoint: what a model file holds, whatever its format. Everything it hands out has been checked against the file's
// size.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/tensor_view.h"

namespace quire {

// Threads: immutable once open; any thread may read. Views stay valid as long as the checkpoint lives.
class Checkpoint {
 public:
  virtual ~Checkpoint() = default;

  // Metadata by the file's own key. NOT_FOUND when there is none, INVALID_ARGUMENT when it is of another kind (integers
  // of any width convert where the value fits, and floats to floats). The message names the key.
  virtual absl::StatusOr<std::string> GetString(std::string_view key) const = 0;
  virtual absl::StatusOr<int64_t> GetInt(std::string_view key) const = 0;
  virtual absl::StatusOr<double> GetFloat(std::string_view key) const = 0;
  virtual absl::StatusOr<bool> GetBool(std::string_view key) const = 0;
  virtual absl::StatusOr<std::vector<std::string>> GetStrings(std::string_view key) const = 0;
  virtual absl::StatusOr<std::vector<int64_t>> GetInts(std::string_view key) const = 0;
  virtual bool Has(std::string_view key) const = 0;

  // A tensor of one or two dimensions ([cols] reads as one row), with its bytes in the mapped file. NOT_FOUND names it.
  virtual absl::StatusOr<RawMatrix> GetTensor(std::string_view name) const = 0;
  virtual bool HasTensor(std::string_view name) const = 0;
  virtual std::vector<std::string> TensorNames() const = 0;

  // Of metadata, names, shapes and a sample of every tensor's bytes: another value for another model. Reads little of
  // the file.
  virtual uint64_t Fingerprint() const = 0;
};

// Opens a model file by its content. Errors say what is wrong and where in the file, but not the path, which the caller
// knows.
absl::StatusOr<std::unique_ptr<Checkpoint>> OpenCheckpoint(const std::string& path);

}  // namespace quire
