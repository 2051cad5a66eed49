#include "server/tokenizer_files.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/model/tokenizer_spec.h"
#include "engine/tokenizer/split_pattern.h"
#include "engine/tokenizer/tokenizer.h"
#include "engine/types/status_macros.h"

namespace quire {
namespace {

// Members keep their order, for people who look into the files.
using Json = nlohmann::ordered_json;

TokenKind KindOf(const TokenizerSpec& spec, size_t token) {
  return spec.kinds.empty() ? TokenKind::kNormal : spec.kinds[token];
}

Json AddedTokens(const TokenizerSpec& spec) {
  Json added = Json::array();
  for (size_t token = 0; token < spec.tokens.size(); ++token) {
    const TokenKind kind = KindOf(spec, token);
    const bool special = kind == TokenKind::kControl || kind == TokenKind::kUnknown;
    if ((!special && kind != TokenKind::kUserDefined) || spec.tokens[token].empty()) continue;
    added.push_back({{"id", token},
                     {"content", spec.tokens[token]},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", special}});
  }
  return added;
}

Json ByteLevel() {
  return {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", false}, {"use_regex", false}};
}

Json PreTokenizer(const std::string& pattern) {
  const Json split = {
      {"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}, {"invert", false}};
  return {{"type", "Sequence"}, {"pretokenizers", Json::array({split, ByteLevel()})}};
}

// Puts BOS and EOS around a text, where the model wants them.
Json PostProcessor(const TokenizerSpec& spec) {
  const bool bos = spec.add_bos && spec.bos >= 0, eos = spec.add_eos && spec.eos >= 0;
  if (!bos && !eos) return ByteLevel();
  Json special = Json::object();
  const auto token = [&](TokenId id) {
    const std::string& text = spec.tokens[id];
    special[text] = {{"id", text}, {"ids", {id}}, {"tokens", {text}}};
    return Json{{"SpecialToken", {{"id", text}, {"type_id", 0}}}};
  };
  const auto sequence = [](const char* id) { return Json{{"Sequence", {{"id", id}, {"type_id", 0}}}}; };
  Json single = Json::array();
  if (bos) single.push_back(token(spec.bos));
  single.push_back(sequence("A"));
  if (eos) single.push_back(token(spec.eos));
  Json pair = single;
  pair.push_back(sequence("B"));
  return {{"type", "TemplateProcessing"}, {"single", single}, {"pair", pair}, {"special_tokens", special}};
}

Json Model(TokenizerSpec& spec, bool prefers_whole_words) {
  Json vocabulary = Json::object();
  // Straight into the members: an ordered object looks each new one up among all that it has.
  auto& members = vocabulary.get_ref<Json::object_t&>();
  members.reserve(spec.tokens.size());
  for (size_t token = 0; token < spec.tokens.size(); ++token) members.emplace_back(spec.tokens[token], token);
  return {{"type", "BPE"},
          {"dropout", nullptr},
          {"unk_token", nullptr},
          {"continuing_subword_prefix", nullptr},
          {"end_of_word_suffix", nullptr},
          {"fuse_unk", false},
          {"byte_fallback", false},
          {"ignore_merges", prefers_whole_words},
          {"vocab", std::move(vocabulary)},
          {"merges", std::move(spec.merges)}};
}

// What transformers want to know besides.
Json TokenizerConfig(const TokenizerSpec& spec, const Checkpoint& checkpoint) {
  Json config = {{"tokenizer_class", "PreTrainedTokenizerFast"},
                 {"clean_up_tokenization_spaces", false},
                 {"add_bos_token", spec.add_bos},
                 {"add_eos_token", spec.add_eos}};
  const std::pair<const char*, TokenId> tokens[] = {
      {"bos_token", spec.bos}, {"eos_token", spec.eos}, {"unk_token", spec.unknown}, {"pad_token", spec.padding}};
  for (const auto& [name, id] : tokens) {
    if (id >= 0) config[name] = spec.tokens[id];
  }
  const absl::StatusOr<std::string> chat_template = checkpoint.GetString("tokenizer.chat_template");
  if (chat_template.ok()) config["chat_template"] = *chat_template;
  return config;
}

Json GenerationConfig(const Tokenizer& tokenizer) {
  Json config = {{"eos_token_id", tokenizer.end_tokens()}};
  if (tokenizer.bos() >= 0) config["bos_token_id"] = tokenizer.bos();
  return config;
}

std::string Dump(const Json& json) {
  // A vocabulary may hold bytes that are no text.
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace

absl::StatusOr<std::vector<TokenizerFile>> MakeTokenizerFiles(const Checkpoint& checkpoint) {
  ASSIGN_OR_RETURN(TokenizerSpec spec, ReadTokenizerSpec(checkpoint));
  if (spec.model != "gpt2") {
    return absl::UnimplementedError(
        absl::StrCat("a vocabulary of kind \"", spec.model, "\" cannot be given out; byte-level BPE (\"gpt2\") can"));
  }
  // Also checks that all ids are in the vocabulary.
  ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer, MakeTokenizer(spec));
  ASSIGN_OR_RETURN(const SplitPattern split, SplitPattern::Make(spec.pre));
  std::vector<TokenizerFile> files;
  files.push_back({"tokenizer_config.json", Dump(TokenizerConfig(spec, checkpoint))});
  files.push_back({"generation_config.json", Dump(GenerationConfig(*tokenizer))});
  Json json = {{"version", "1.0"},
               {"truncation", nullptr},
               {"padding", nullptr},
               {"added_tokens", AddedTokens(spec)},
               {"normalizer", nullptr},
               {"pre_tokenizer", PreTokenizer(split.pattern())},
               {"post_processor", PostProcessor(spec)},
               {"decoder", ByteLevel()}};
  json["model"] = Model(spec, split.prefers_whole_words());
  files.push_back({"tokenizer.json", Dump(json)});
  return files;
}

}  // namespace quire
