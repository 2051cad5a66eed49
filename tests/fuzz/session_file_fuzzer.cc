// Any bytes as a session's file: they are refused, or are what is written again of what was read.
#include "kernels/check.h"
#include "server/sessions/session_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view file(reinterpret_cast<const char*>(data), size);
  const absl::StatusOr<quire::SessionRecord> record = quire::ReadSession(file);
  if (!record.ok()) {
    QUIRE_CHECK(absl::IsDataLoss(record.status()) || absl::IsFailedPrecondition(record.status()));
    return 0;
  }
  const absl::StatusOr<quire::SessionRecord> again = quire::ReadSession(quire::WriteSession(*record));
  QUIRE_CHECK(again.ok() && again->tokens == record->tokens && again->roles == record->roles);
  return 0;
}
