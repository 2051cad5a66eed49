#include "engine/model/tokenizer_spec.h"

#include "absl/strings/str_cat.h"
#include "engine/model/metadata.h"
#include "engine/types/status_macros.h"

namespace quire {
namespace {

constexpr char kTokenTypeKey[] = "tokenizer.ggml.token_type";

absl::StatusOr<std::vector<TokenKind>> ReadKinds(const Checkpoint& checkpoint) {
  if (!checkpoint.Has(kTokenTypeKey)) return std::vector<TokenKind>();
  ASSIGN_OR_RETURN(const std::vector<int64_t> types, checkpoint.GetInts(kTokenTypeKey));
  std::vector<TokenKind> kinds;
  kinds.reserve(types.size());
  for (const int64_t type : types) {
    switch (type) {
      case 0:  // "Undefined", as old converters wrote it.
      case 1:
        kinds.push_back(TokenKind::kNormal);
        break;
      case 2:
        kinds.push_back(TokenKind::kUnknown);
        break;
      case 3:
        kinds.push_back(TokenKind::kControl);
        break;
      case 4:
        kinds.push_back(TokenKind::kUserDefined);
        break;
      case 5:
        kinds.push_back(TokenKind::kUnused);
        break;
      case 6:
        kinds.push_back(TokenKind::kByte);
        break;
      default:
        return absl::InvalidArgumentError(absl::StrCat("metadata '", kTokenTypeKey, "' holds ", type, " for token ",
                                                       kinds.size(), "; types are 0 to 6"));
    }
  }
  return kinds;
}

}  // namespace

absl::StatusOr<TokenizerSpec> ReadTokenizerSpec(const Checkpoint& checkpoint) {
  const Metadata metadata(checkpoint, "tokenizer.ggml");
  TokenizerSpec spec;
  ASSIGN_OR_RETURN(spec.model, metadata.String("model"));
  ASSIGN_OR_RETURN(spec.pre, metadata.StringOr("pre", "default"));
  ASSIGN_OR_RETURN(spec.tokens, metadata.Strings("tokens"));
  ASSIGN_OR_RETURN(spec.kinds, ReadKinds(checkpoint));
  if (checkpoint.Has("tokenizer.ggml.merges")) {
    ASSIGN_OR_RETURN(spec.merges, checkpoint.GetStrings("tokenizer.ggml.merges"));
  }
  ASSIGN_OR_RETURN(spec.bos, metadata.IntOr("bos_token_id", -1));
  ASSIGN_OR_RETURN(spec.eos, metadata.IntOr("eos_token_id", -1));
  ASSIGN_OR_RETURN(spec.eot, metadata.IntOr("eot_token_id", -1));
  ASSIGN_OR_RETURN(spec.unknown, metadata.IntOr("unknown_token_id", -1));
  ASSIGN_OR_RETURN(spec.padding, metadata.IntOr("padding_token_id", -1));
  // Llama 3 files do not say that prompts begin with BOS, but they do.
  ASSIGN_OR_RETURN(spec.add_bos, metadata.BoolOr("add_bos_token", spec.pre == "llama-bpe"));
  ASSIGN_OR_RETURN(spec.add_eos, metadata.BoolOr("add_eos_token", false));
  ASSIGN_OR_RETURN(spec.add_space_prefix, metadata.BoolOr("add_space_prefix", false));
  return spec;
}

}  // namespace quire
