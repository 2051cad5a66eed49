#include "engine/model/model_registry.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/loader/quoted.h"
#include "engine/model/llama.h"
#include "engine/types/string_view.h"

namespace quire {
namespace {

constexpr ModelArchitecture kArchitectures[] = {
    {"llama", ReadLlamaConfig, TensorNames{}},
};

}  // namespace

absl::StatusOr<const ModelArchitecture*> FindArchitecture(std::string_view name) {
  for (const ModelArchitecture& architecture : kArchitectures) {
    if (architecture.name == name) return &architecture;
  }
  const std::string known =
      absl::StrJoin(kArchitectures, ", ", [](std::string* out, const ModelArchitecture& architecture) {
        absl::StrAppend(out, AbslView(architecture.name));
      });
  return absl::InvalidArgumentError(
      absl::StrCat("architecture ", Quoted(name), " is not supported; those that are: ", known));
}

}  // namespace quire
