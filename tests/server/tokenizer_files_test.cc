#include "server/tokenizer_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <span>

#include "engine/loader/gguf_checkpoint.h"
#include "engine/tokenizer/tokenizer.h"
#include "tests/fakes/gguf_writer.h"

namespace quire {
namespace {

using Json = nlohmann::json;

// The tokenizer's file of a model with these tokens after the printable bytes.
class TokenizerFilesTest : public ::testing::Test {
 protected:
  TokenizerFilesTest() {
    for (char c = '!'; c <= '~'; ++c) Add(std::string(1, c), TokenKind::kNormal);
    Add("\xC4\xA0", TokenKind::kNormal);  // A space, as GPT-2 spells it.
    writer_.SetString("tokenizer.ggml.model", "gpt2");
    writer_.SetString("tokenizer.ggml.pre", "smollm");
  }

  int Add(const std::string& token, TokenKind kind) {
    tokens_.push_back(token);
    kinds_.push_back(static_cast<int>(kind) + 1);
    return static_cast<int>(tokens_.size()) - 1;
  }

  absl::StatusOr<std::vector<TokenizerFile>> Make() {
    writer_.SetStrings("tokenizer.ggml.tokens", tokens_);
    writer_.SetInt32s("tokenizer.ggml.token_type", kinds_);
    image_ = writer_.Write().bytes;
    auto checkpoint = GgufCheckpoint::Parse(std::as_bytes(std::span(image_)), nullptr);
    if (!checkpoint.ok()) return checkpoint.status();
    return MakeTokenizerFiles(**checkpoint);
  }
  Json File(const std::string& name) {
    const auto files = Make();
    EXPECT_TRUE(files.ok()) << files.status();
    for (const TokenizerFile& file : *files) {
      if (file.name == name) return Json::parse(file.contents);
    }
    ADD_FAILURE() << "there is no " << name;
    return {};
  }

  GgufWriter writer_;
  std::vector<std::string> tokens_;
  std::vector<int32_t> kinds_;
  std::string image_;
};

TEST_F(TokenizerFilesTest, HaveEveryTokenUnderItsId) {
  const int merged = Add("ab", TokenKind::kNormal);
  const int unused = Add("[gone]", TokenKind::kUnused);
  writer_.SetStrings("tokenizer.ggml.merges", {"a b"});
  const Json model = File("tokenizer.json")["model"];
  EXPECT_EQ(model["type"], "BPE");
  EXPECT_EQ(model["vocab"].size(), tokens_.size());
  EXPECT_EQ(model["vocab"]["ab"], merged);
  EXPECT_EQ(model["vocab"]["[gone]"], unused);
  EXPECT_EQ(model["merges"], Json({"a b"}));
  EXPECT_EQ(model["ignore_merges"], false);
}

TEST_F(TokenizerFilesTest, TellControlTokensFromOthersThatWereAdded) {
  const int control = Add("<|end|>", TokenKind::kControl);
  const int user = Add("<tool>", TokenKind::kUserDefined);
  const Json added = File("tokenizer.json")["added_tokens"];
  ASSERT_EQ(added.size(), 2u);
  EXPECT_EQ(added[0]["id"], control);
  EXPECT_EQ(added[0]["special"], true);
  EXPECT_EQ(added[1]["id"], user);
  EXPECT_EQ(added[1]["special"], false);
}

TEST_F(TokenizerFilesTest, PutATokenAroundAPromptWhereTheModelWantsIt) {
  EXPECT_EQ(File("tokenizer.json")["post_processor"]["type"], "ByteLevel");
  writer_.SetUint32("tokenizer.ggml.bos_token_id", static_cast<uint32_t>(Add("<s>", TokenKind::kControl)));
  writer_.SetBool("tokenizer.ggml.add_bos_token", true);
  const Json post_processor = File("tokenizer.json")["post_processor"];
  EXPECT_EQ(post_processor["type"], "TemplateProcessing");
  EXPECT_EQ(post_processor["single"][0]["SpecialToken"]["id"], "<s>");
  EXPECT_EQ(post_processor["single"].size(), 2u);
  const Json config = File("tokenizer_config.json");
  EXPECT_EQ(config["bos_token"], "<s>");
  EXPECT_EQ(config["add_bos_token"], true);
}

TEST_F(TokenizerFilesTest, BringTheChatTemplateAndWhatEndsAnAnswer) {
  const int end = Add("<|im_end|>", TokenKind::kControl);
  writer_.SetUint32("tokenizer.ggml.eos_token_id", static_cast<uint32_t>(end));
  EXPECT_FALSE(File("tokenizer_config.json").contains("chat_template"));
  writer_.SetString("tokenizer.chat_template", "{{ messages }}");
  EXPECT_EQ(File("tokenizer_config.json")["chat_template"], "{{ messages }}");
  EXPECT_EQ(File("generation_config.json")["eos_token_id"], Json({end}));
}

TEST_F(TokenizerFilesTest, SurviveTokensThatAreNoText) {
  Add("\xFF\xFE", TokenKind::kControl);
  EXPECT_EQ(File("tokenizer.json")["added_tokens"].size(), 1u);
}

TEST_F(TokenizerFilesTest, AreRefusedForOtherVocabularies) {
  writer_.SetString("tokenizer.ggml.model", "llama");
  EXPECT_TRUE(absl::IsUnimplemented(Make().status())) << Make().status();
}

}  // namespace
}  // namespace quire
