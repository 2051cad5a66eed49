#include "engine/loader/checkpoint.h"

#include <utility>

#include "engine/loader/gguf_checkpoint.h"
#include "engine/loader/mapped_file.h"
#include "engine/types/status_macros.h"

namespace quire {

absl::StatusOr<std::unique_ptr<Checkpoint>> OpenCheckpoint(const std::string& path) {
  ASSIGN_OR_RETURN(MappedFile mapped, MappedFile::Open(path));
  auto file = std::make_shared<const MappedFile>(std::move(mapped));
  return GgufCheckpoint::Parse(file->bytes(), file);
}

}  // namespace quire
