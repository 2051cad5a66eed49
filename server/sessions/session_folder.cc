#include "server/sessions/session_folder.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <system_error>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "server/status_details.h"

namespace quire {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxNameBytes = 100;
constexpr char kSuffix[] = ".session";

absl::Status DiskError(const std::string& what) {
  return absl::UnavailableError(absl::StrCat("the session's file cannot be ", what, ": ", std::strerror(errno)));
}

// Until the disk has its entries.
absl::Status SyncFolder(const std::string& folder) {
  const int file = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (file < 0) return DiskError("opened");
  const absl::Cleanup close_file = [file] { close(file); };
  return fsync(file) == 0 ? absl::OkStatus() : DiskError("written");
}

// Those that cannot be counted are none.
int CountFiles(const std::string& folder) {
  std::error_code error;
  int num_files = 0;
  fs::directory_iterator file(folder, error);
  for (; !error && file != fs::directory_iterator(); file.increment(error)) ++num_files;
  return num_files;
}

absl::Status WriteWhole(const std::string& path, const std::string& content) {
  const int file = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (file < 0) return DiskError("made");
  const absl::Cleanup close_file = [file] { close(file); };
  for (size_t written = 0; written < content.size();) {
    const ssize_t result = write(file, content.data() + written, content.size() - written);
    if (result < 0 && errno == EINTR) continue;
    if (result <= 0) return DiskError("written");
    written += static_cast<size_t>(result);
  }
  return fsync(file) == 0 ? absl::OkStatus() : DiskError("written");
}

}  // namespace

absl::Status SessionFolder::CheckName(const std::string& field, const std::string& name) {
  const auto is_part = [](char c) { return absl::ascii_isalnum(c) || c == '.' || c == '_' || c == '-'; };
  if (!name.empty() && name.size() <= kMaxNameBytes && absl::ascii_isalnum(name[0]) &&
      std::ranges::all_of(name, is_part)) {
    return absl::OkStatus();
  }
  return InvalidField(field, absl::StrCat("must have 1 to ", kMaxNameBytes,
                                          " letters, digits, \".\", \"_\" and \"-\", the first a letter or a digit"));
}

std::string SessionFolder::FolderOf(uint64_t owner) const {
  return absl::StrCat(path_, "/", absl::Hex(owner, absl::kZeroPad16));
}

absl::Status SessionFolder::Write(uint64_t owner, const std::string& name, const std::string& content) {
  const std::string folder = FolderOf(owner);
  const std::string path = absl::StrCat(folder, "/", name, kSuffix);
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) return absl::UnavailableError(absl::StrCat("--session-path cannot be used: ", error.message()));
  if (!fs::exists(path, error) && CountFiles(folder) >= kMaxFilesPerOwner) {
    return absl::ResourceExhaustedError(
        absl::StrCat("there are ", kMaxFilesPerOwner, " snapshots of sessions, as many as are kept"));
  }
  const std::string temporary = absl::StrCat(path, ".new");
  if (absl::Status status = WriteWhole(temporary, content); !status.ok()) {
    unlink(temporary.c_str());
    return status;
  }
  if (rename(temporary.c_str(), path.c_str()) != 0) return DiskError("moved to its place");
  return SyncFolder(folder);
}

absl::StatusOr<std::string> SessionFolder::Read(uint64_t owner, const std::string& name) const {
  const std::string path = absl::StrCat(FolderOf(owner), "/", name, kSuffix);
  std::error_code error;
  const auto size = fs::file_size(path, error);
  if (error) return absl::NotFoundError(absl::StrCat("name: there is no snapshot \"", name, "\""));
  if (size > kMaxFileBytes) return absl::DataLossError("the session's file is damaged: it is too large for one");
  std::string content(size, '\0');
  std::ifstream file(path, std::ios::binary);
  file.read(content.data(), static_cast<std::streamsize>(size));
  content.resize(static_cast<size_t>(std::max<std::streamsize>(file.gcount(), 0)));
  return content;
}

}  // namespace quire
