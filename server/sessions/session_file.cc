#include "server/sessions/session_file.h"

#include <xxhash.h>

#include <limits>

#include "absl/strings/str_cat.h"
#include "quire/v1/session_file.pb.h"

namespace quire {
namespace {

constexpr std::string_view kMagic = "QUIRESES";
constexpr uint64_t kVersion = 1;

// Behind the magic: version, size of the content, its XXH3; each of eight bytes, the least first.
constexpr size_t kHeaderBytes = 32;

void AppendNumber(uint64_t number, std::string& out) {
  for (int shift = 0; shift < 64; shift += 8) out.push_back(static_cast<char>(number >> shift));
}

uint64_t NumberAt(std::string_view file, size_t offset) {
  uint64_t number = 0;
  for (int i = 7; i >= 0; --i) number = number << 8 | static_cast<unsigned char>(file[offset + static_cast<size_t>(i)]);
  return number;
}

}  // namespace

std::string WriteSession(const SessionRecord& record) {
  v1::SessionFile proto;
  proto.set_fingerprint(record.fingerprint);
  proto.set_owner(record.owner);
  proto.mutable_token_ids()->Add(record.tokens.begin(), record.tokens.end());
  for (const std::string& role : record.roles) proto.add_roles(role);
  const std::string content = proto.SerializeAsString();
  std::string file(kMagic);
  AppendNumber(kVersion, file);
  AppendNumber(content.size(), file);
  AppendNumber(XXH3_64bits(content.data(), content.size()), file);
  return file + content;
}

absl::StatusOr<SessionRecord> ReadSession(std::string_view file) {
  if (file.substr(0, kMagic.size()) != kMagic) return absl::FailedPreconditionError("the file is no session's");
  if (file.size() < kHeaderBytes) return absl::DataLossError("the session's file is torn: its header is not whole");
  const uint64_t version = NumberAt(file, 8);
  if (version != kVersion) {
    return absl::FailedPreconditionError(
        absl::StrCat("the session's file has version ", version, ", and ", kVersion, " is what is read"));
  }
  const std::string_view content = file.substr(kHeaderBytes);
  if (NumberAt(file, 16) != content.size()) {
    return absl::DataLossError(absl::StrCat("the session's file is torn: it has ", content.size(), " bytes of ",
                                            NumberAt(file, 16)));
  }
  v1::SessionFile proto;
  if (NumberAt(file, 24) != XXH3_64bits(content.data(), content.size()) ||
      content.size() > static_cast<size_t>(std::numeric_limits<int>::max()) ||
      !proto.ParseFromArray(content.data(), static_cast<int>(content.size()))) {
    return absl::DataLossError("the session's file is damaged: its checksum is another");
  }
  SessionRecord record;
  record.fingerprint = proto.fingerprint();
  record.owner = proto.owner();
  record.tokens.assign(proto.token_ids().begin(), proto.token_ids().end());
  record.roles.assign(proto.roles().begin(), proto.roles().end());
  return record;
}

}  // namespace quire
