// Any bytes as the tenants' file: it is refused, or what it makes lets in nobody without a key.
#include "kernels/check.h"
#include "server/tenants/tenant_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string yaml(reinterpret_cast<const char*>(data), size);
  const absl::StatusOr<quire::TenantDirectory> directory = quire::ParseTenants(yaml);
  if (!directory.ok()) {
    QUIRE_CHECK(absl::IsInvalidArgument(directory.status()) && !directory.status().message().empty());
    return 0;
  }
  QUIRE_CHECK(directory->requires_keys());
  QUIRE_CHECK(absl::IsUnauthenticated(directory->Identify({}).status()));
  return 0;
}
