#include "server/tokenizer_bundle.h"

#include <zip.h>

#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/loader/checkpoint.h"
#include "engine/types/status_macros.h"
#include "server/sha256.h"
#include "server/tokenizer_files.h"

namespace quire {
namespace {

absl::Status ZipError(const char* what, zip_error_t& error) {
  return absl::InternalError(absl::StrCat("packing the tokenizer: ", what, " failed: ", zip_error_strerror(&error)));
}

// An archive of `files`. libzip reads their contents when it is closed.
absl::StatusOr<std::string> Pack(const std::vector<TokenizerFile>& files) {
  zip_error_t error;
  zip_error_init(&error);
  zip_source_t* buffer = zip_source_buffer_create(nullptr, 0, 0, &error);
  if (buffer == nullptr) return ZipError("zip_source_buffer_create", error);
  const std::unique_ptr<zip_source_t, decltype(&zip_source_free)> keep_buffer(buffer, zip_source_free);
  zip_source_keep(buffer);  // The archive's own reference.
  zip_t* archive = zip_open_from_source(buffer, ZIP_TRUNCATE, &error);
  if (archive == nullptr) {
    zip_source_free(buffer);
    return ZipError("zip_open_from_source", error);
  }
  bool ok = true;
  for (const TokenizerFile& file : files) {
    zip_source_t* source = zip_source_buffer(archive, file.contents.data(), file.contents.size(), 0);
    const zip_int64_t index = zip_file_add(archive, file.name.c_str(), source, ZIP_FL_ENC_UTF_8);
    if (index < 0) zip_source_free(source);
    // So that equal contents give equal archives.
    ok = ok && index >= 0 && zip_file_set_mtime(archive, index, 0, 0) == 0;
  }
  if (!ok || zip_close(archive) != 0) {
    zip_discard(archive);
    return absl::InternalError("packing the tokenizer failed");
  }
  std::string bytes;
  if (zip_source_open(buffer) != 0) return absl::InternalError("reading the packed tokenizer failed");
  char block[1 << 16];
  zip_int64_t count;
  while ((count = zip_source_read(buffer, block, sizeof(block))) > 0) bytes.append(block, count);
  zip_source_close(buffer);
  if (count < 0) return absl::InternalError("reading the packed tokenizer failed");
  return bytes;
}

}  // namespace

absl::StatusOr<std::shared_ptr<const TokenizerBundle::Archive>> TokenizerBundle::Get() {
  std::lock_guard lock(mutex_);
  if (archive_ != nullptr) return archive_;
  const absl::StatusOr<std::unique_ptr<Checkpoint>> checkpoint = OpenCheckpoint(path_);
  if (!checkpoint.ok() || (*checkpoint)->Fingerprint() != fingerprint_) {
    return absl::FailedPreconditionError(
        "the model file has changed since it was loaded, and the tokenizer is made of it; start the server anew");
  }
  ASSIGN_OR_RETURN(const std::vector<TokenizerFile> files, MakeTokenizerFiles(**checkpoint));
  ASSIGN_OR_RETURN(std::string zip, Pack(files));
  std::string sha256 = Sha256Hex(zip);
  archive_ = std::make_shared<Archive>(Archive{std::move(zip), std::move(sha256)});
  return archive_;
}

}  // namespace quire
