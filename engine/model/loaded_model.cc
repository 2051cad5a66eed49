#include "engine/model/loaded_model.h"

#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/loader/checkpoint.h"
#include "engine/model/metadata.h"
#include "engine/model/model_registry.h"
#include "engine/model/tokenizer_spec.h"
#include "engine/types/annotate.h"
#include "engine/types/status_macros.h"

namespace quire {
namespace {

constexpr char kChatTemplateKey[] = "tokenizer.chat_template";

// A template that cannot be used does not keep the model from completing text.
void LoadChatTemplate(const Checkpoint& checkpoint, const TokenizerSpec& spec, LoadedModel& model) {
  if (!checkpoint.Has(kChatTemplateKey)) {
    model.chat_template_error = "the model file has no chat template";
    return;
  }
  const auto text_of = [&spec](TokenId token) -> std::string_view {
    const bool known = token >= 0 && token < static_cast<TokenId>(spec.tokens.size());
    return known ? std::string_view(spec.tokens[token]) : std::string_view();
  };
  const absl::StatusOr<std::string> source = checkpoint.GetString(kChatTemplateKey);
  absl::StatusOr<std::unique_ptr<ChatTemplate>> chat_template =
      source.ok() ? ChatTemplate::Make(*source, text_of(spec.bos), text_of(spec.eos)) : source.status();
  if (chat_template.ok()) {
    model.chat_template = *std::move(chat_template);
  } else {
    model.chat_template_error = std::string(chat_template.status().message());
  }
}

absl::Status LoadVocabulary(const Checkpoint& checkpoint, LoadedModel& model) {
  ASSIGN_OR_RETURN(TokenizerSpec spec, ReadTokenizerSpec(checkpoint));
  // Every token that the model can choose must have a text.
  if (spec.tokens.size() != static_cast<size_t>(model.config.vocab_size)) {
    return absl::InvalidArgumentError(
        absl::StrCat("metadata 'tokenizer.ggml.tokens' must be as long as the embedding's ", model.config.vocab_size,
                     " rows, got ", spec.tokens.size()));
  }
  LoadChatTemplate(checkpoint, spec, model);
  ASSIGN_OR_RETURN(model.tokenizer, MakeTokenizer(std::move(spec)));
  return absl::OkStatus();
}

absl::StatusOr<LoadedModel> LoadFrom(const std::string& path, Ops& ops, const LoadProgress& progress,
                                     WeightPrecision precision) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Checkpoint> checkpoint, OpenCheckpoint(path));
  ASSIGN_OR_RETURN(const std::string name, Metadata(*checkpoint, "general").String("architecture"));
  ASSIGN_OR_RETURN(const ModelArchitecture* architecture, FindArchitecture(name));
  LoadedModel model;
  model.name = std::filesystem::path(path).stem().string();
  model.architecture = name;
  model.fingerprint = checkpoint->Fingerprint();
  ASSIGN_OR_RETURN(model.config, architecture->read_config(*checkpoint));
  RETURN_IF_ERROR(Validate(model.config));
  RETURN_IF_ERROR(LoadVocabulary(*checkpoint, model));
  model.precision = precision;
  ASSIGN_OR_RETURN(model.weights,
                   LoadWeights(*checkpoint, model.config, architecture->tensor_names, ops, precision, progress));
  return model;
}

}  // namespace

absl::StatusOr<LoadedModel> LoadModel(const std::string& path, Ops& ops, const LoadProgress& progress,
                                      WeightPrecision precision) {
  absl::StatusOr<LoadedModel> model = LoadFrom(path, ops, progress, precision);
  if (!model.ok()) return Annotate(model.status(), path);
  return model;
}

}  // namespace quire
