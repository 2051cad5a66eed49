// TokenizerBundle: the model's vocabulary and chat template as other programs read them (see tokenizer_files.h), made
// of the model file on demand and packed into one archive.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "absl/status/statusor.h"

namespace quire {

class TokenizerBundle {
 public:
  struct Archive {
    std::string zip;
    std::string sha256;  // Of `zip`, in hexadecimal.
  };

  // Of the model in the file at `path`, which had this fingerprint when it was loaded.
  TokenizerBundle(std::string path, uint64_t fingerprint) : path_(std::move(path)), fingerprint_(fingerprint) {}

  // Thread-safe. The first call makes it, in about a second for a large vocabulary; so call it where texts are worked
  // on. FAILED_PRECONDITION when the file is gone or another one by now, UNIMPLEMENTED for a vocabulary that is not
  // byte-level BPE.
  absl::StatusOr<std::shared_ptr<const Archive>> Get();

 private:
  const std::string path_;
  const uint64_t fingerprint_;
  std::mutex mutex_;
  std::shared_ptr<const Archive> archive_;
};

}  // namespace quire
