// Metadata: one architecture's keys of a checkpoint ("llama.block_count" is "block_count" of "llama"), with defaults.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/loader/checkpoint.h"

namespace quire {

class Metadata {
 public:
  // `checkpoint` outlives this.
  Metadata(const Checkpoint& checkpoint, std::string_view architecture)
      : checkpoint_(checkpoint), architecture_(architecture) {}

  // INVALID_ARGUMENT, with the key, when it is missing, of another kind, or does not fit an int.
  absl::StatusOr<int> Int(std::string_view name) const;
  absl::StatusOr<double> Float(std::string_view name) const;
  absl::StatusOr<std::string> String(std::string_view name) const;
  absl::StatusOr<std::vector<std::string>> Strings(std::string_view name) const;
  // The default only when the key is missing.
  absl::StatusOr<int> IntOr(std::string_view name, int default_value) const;
  absl::StatusOr<double> FloatOr(std::string_view name, double default_value) const;
  absl::StatusOr<std::string> StringOr(std::string_view name, std::string_view default_value) const;
  absl::StatusOr<bool> BoolOr(std::string_view name, bool default_value) const;

 private:
  std::string Key(std::string_view name) const;

  const Checkpoint& checkpoint_;
  std::string architecture_;
};

}  // namespace quire
