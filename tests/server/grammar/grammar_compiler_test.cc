#include "server/grammar/grammar_compiler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>

#include "engine/tokenizer/utf8.h"
#include "tests/fakes/tiny_tokenizer.h"
#include "tests/server/letter_tokenizer.h"

namespace quire {
namespace {

using ::testing::HasSubstr;
using Kind = OutputFormat::Kind;

class GrammarCompilerTest : public ::testing::Test {
 protected:
  static OutputFormat Regex(const std::string& source) {
    return {.kind = Kind::kRegex, .source = source, .field = "f"};
  }
  static OutputFormat Grammar(const std::string& source) {
    return {.kind = Kind::kGrammar, .source = source, .field = "f"};
  }
  static OutputFormat Tag(const std::string& source) {
    return {.kind = Kind::kStructuralTag, .source = source, .field = "f"};
  }
  static OutputFormat TagOf(const std::string& format) { return Tag(R"({"format": )" + format + "}"); }
  static OutputFormat Choice(const std::vector<std::string>& choices) {
    return {.kind = Kind::kChoice, .choices = choices, .field = "f"};
  }

  std::string Refusal(const OutputFormat& format) {
    const absl::Status status = compiler_.Compile(format).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    EXPECT_THAT(std::string(status.message()), ::testing::StartsWith("f "));
    return std::string(status.message());
  }

  // Whether `text`, a letter a token, and an end after it are accepted; none where the format is refused.
  std::optional<bool> Accepts(const OutputFormat& format, const std::string& text) {
    const auto compiled = compiler_.Compile(format);
    EXPECT_TRUE(compiled.ok()) << compiled.status();
    if (!compiled.ok()) return std::nullopt;
    const std::unique_ptr<TokenConstraint> state = (*compiled)->Clone();
    std::vector<TokenId> tokens = *tokenizer_.Encode(text, {});
    tokens.push_back(LetterTokenizer::kEnd);
    for (const TokenId token : tokens) {
      uint32_t mask[2] = {};
      EXPECT_EQ(state->FillMask(mask), absl::OkStatus());
      EXPECT_EQ(mask[1], 0u);
      EXPECT_EQ(mask[0] >> LetterTokenizer::kVocabSize, 0u);
      const bool allowed = mask[0] >> token & 1;
      EXPECT_EQ(state->Clone()->Accept(token).ok(), allowed) << "the mask and what is accepted differ at " << token;
      if (!allowed) return false;
      EXPECT_FALSE(state->ended());
      EXPECT_EQ(state->Accept(token), absl::OkStatus());
    }
    EXPECT_TRUE(state->ended());
    return true;
  }

  LetterTokenizer tokenizer_;
  GrammarCompiler compiler_{tokenizer_};
};

TEST_F(GrammarCompilerTest, FollowsRegularExpressionsGrammarsAndChoices) {
  EXPECT_EQ(Accepts(Regex("(ab)+c?"), "ababc"), true);
  EXPECT_EQ(Accepts(Regex("(ab)+c?"), "abab"), true);
  EXPECT_EQ(Accepts(Regex("(ab)+c?"), "aba"), false);
  EXPECT_EQ(Accepts(Grammar("root ::= \"a\" root \"b\" | \"x\""), "aaxbb"), true);
  EXPECT_EQ(Accepts(Grammar("root ::= \"a\" root \"b\" | \"x\""), "aaxb"), false);
  EXPECT_EQ(Accepts(Choice({"yes", "yes no", "no"}), "yes"), true);
  EXPECT_EQ(Accepts(Choice({"yes", "yes no", "no"}), "yes no"), true);
  EXPECT_EQ(Accepts(Choice({"yes", "yes no", "no"}), "noyes"), false);
}

TEST_F(GrammarCompilerTest, FollowsTagsThatATriggerBeginsInFreeText) {
  const OutputFormat older = Tag(R"({"type": "structural_tag", "triggers": ["call"], "structures": [
      {"begin": "call", "schema": {"type": "boolean"}, "end": " end"},
      {"begin": "call b ", "schema": {"type": "null"}, "end": " end"}]})");
  const OutputFormat newer = TagOf(R"({"type": "triggered_tags", "triggers": ["call"], "tags": [
      {"begin": "call", "content": {"type": "json_schema", "json_schema": {"type": "boolean"}}, "end": " end"},
      {"begin": "call b ", "content": {"type": "json_schema", "json_schema": {"type": "null"}}, "end": " end"}]})");
  for (const OutputFormat& format : {older, newer}) {
    EXPECT_EQ(Accepts(format, ""), true);
    EXPECT_EQ(Accepts(format, "no cal at all"), true);
    EXPECT_EQ(Accepts(format, "so calltrue end and call b null end fine"), true);
    EXPECT_EQ(Accepts(format, "so callnull end"), false);
    EXPECT_EQ(Accepts(format, "so call b true end"), false);
    EXPECT_EQ(Accepts(format, "so calltrue"), false);
  }
}

TEST_F(GrammarCompilerTest, FollowsEachPartOfAStructuralTag) {
  const std::string ab = R"({"type": "const_string", "value": "ab"})";
  const auto accepts = [this](const std::string& format, const std::string& text) {
    return Accepts(TagOf(format), text);
  };
  EXPECT_EQ(accepts(ab, "ab"), true);
  EXPECT_EQ(accepts(ab, "a"), false);
  EXPECT_EQ(accepts(R"({"type": "regex", "pattern": "(ab)+"})", "abab"), true);
  EXPECT_EQ(accepts(R"({"type": "regex", "pattern": "(ab)+"})", "aba"), false);
  EXPECT_EQ(accepts(R"({"type": "grammar", "grammar": "root ::= \"a\" root \"b\" | \"x\""})", "aaxbb"), true);
  EXPECT_EQ(accepts(R"({"type": "grammar", "grammar": "root ::= \"a\" root \"b\" | \"x\""})", "aaxb"), false);
  EXPECT_EQ(accepts(R"({"type": "any_text", "excludes": ["ab"]})", "aacb"), true);
  EXPECT_EQ(accepts(R"({"type": "any_text", "excludes": ["ab"]})", "aab"), false);
  const std::string both = "[" + ab + R"(, {"type": "json_schema", "json_schema": {"type": "null"}}])";
  EXPECT_EQ(accepts(R"({"type": "sequence", "elements": )" + both + "}", "abnull"), true);
  EXPECT_EQ(accepts(R"({"type": "sequence", "elements": )" + both + "}", "ab"), false);
  EXPECT_EQ(accepts(R"({"type": "or", "elements": )" + both + "}", "null"), true);
  EXPECT_EQ(accepts(R"({"type": "or", "elements": )" + both + "}", "abnull"), false);
  EXPECT_EQ(accepts(R"({"type": "optional", "content": )" + ab + "}", ""), true);
  EXPECT_EQ(accepts(R"({"type": "optional", "content": )" + ab + "}", "abab"), false);
  EXPECT_EQ(accepts(R"({"type": "plus", "content": )" + ab + "}", "abab"), true);
  EXPECT_EQ(accepts(R"({"type": "plus", "content": )" + ab + "}", ""), false);
  EXPECT_EQ(accepts(R"({"type": "star", "content": )" + ab + "}", ""), true);
  EXPECT_EQ(accepts(R"({"type": "star", "content": )" + ab + "}", "aba"), false);
  EXPECT_EQ(accepts(R"({"type": "repeat", "min": 2, "max": 3, "content": )" + ab + "}", "ababab"), true);
  EXPECT_EQ(accepts(R"({"type": "repeat", "min": 2, "max": 3, "content": )" + ab + "}", "ab"), false);
  EXPECT_EQ(accepts(R"({"type": "repeat", "min": 2, "max": 3, "content": )" + ab + "}", "abababab"), false);
  EXPECT_EQ(accepts(R"({"type": "repeat", "min": 2, "max": -1, "content": )" + ab + "}", "abababab"), true);
  EXPECT_EQ(accepts(R"({"type": "dispatch", "rules": [["x", )" + ab + "]]}", "zzxabzxab"), true);
  EXPECT_EQ(accepts(R"({"type": "dispatch", "rules": [["x", )" + ab + "]]}", "zzxb"), false);
  EXPECT_EQ(accepts(R"({"type": "dispatch", "loop": false, "rules": [["x", )" + ab + "]]}", "zxabz"), false);
}

TEST_F(GrammarCompilerTest, EndsTagsWhereTheirEndIs) {
  const std::string tag = R"({"type": "tag", "begin": "x", "content": {"type": "any_text"}, "end": ["y", "zz"]})";
  EXPECT_EQ(Accepts(TagOf(tag), "xabcy"), true);
  EXPECT_EQ(Accepts(TagOf(tag), "xabczz"), true);
  EXPECT_EQ(Accepts(TagOf(tag), "xabc"), false);
  EXPECT_EQ(Accepts(TagOf(tag), "xabcyd"), false);
  const std::string tags = R"({"type": "tags_with_separator", "separator": " ", "tags": [)" + tag + "]";
  EXPECT_EQ(Accepts(TagOf(tags + "}"), ""), true);
  EXPECT_EQ(Accepts(TagOf(tags + "}"), "xay xby"), true);
  EXPECT_EQ(Accepts(TagOf(tags + "}"), "xayxby"), false);
  EXPECT_EQ(Accepts(TagOf(tags + R"(, "at_least_one": true})"), ""), false);
  EXPECT_EQ(Accepts(TagOf(tags + R"(, "stop_after_first": true})"), "xay xby"), false);
  EXPECT_EQ(Accepts(TagOf(R"({"type": "tag", "begin": "", "content": {"type": "const_string", "value": "a"},
                              "end": ""})"),
                    "a"),
            true);
  EXPECT_THAT(Refusal(TagOf(R"({"type": "tag", "begin": "x", "content": {"type": "any_text"}, "end": ""})")),
              HasSubstr("end"));
}

TEST_F(GrammarCompilerTest, SpellsChoicesToTheLetter) {
  // Of these the tokenizer can write only the last.
  EXPECT_EQ(Accepts(Choice({"\" | root", "\\", "a\nb", "\x01",
                            "\xC3\xA9"
                            "cole",
                            "ab"}),
                    "ab"),
            true);
}

TEST_F(GrammarCompilerTest, ClonesPartWays) {
  const auto compiled = compiler_.Compile(Choice({"ab", "cd"}));
  ASSERT_TRUE(compiled.ok());
  const auto one = (*compiled)->Clone();
  ASSERT_TRUE(one->Accept('a' - 'a').ok());
  const auto other = (*compiled)->Clone();
  EXPECT_TRUE(other->Accept('c' - 'a').ok());
  EXPECT_TRUE(one->Clone()->Accept('b' - 'a').ok());
  EXPECT_TRUE(absl::IsInternal(one->Accept('d' - 'a')));
}

TEST_F(GrammarCompilerTest, SaysWhatIsWrong) {
  EXPECT_THAT(Refusal(Regex("(a")), HasSubstr("not closed"));
  EXPECT_THAT(Refusal(Regex("")), HasSubstr("must not be empty"));
  EXPECT_THAT(Refusal(Regex("a^b")), HasSubstr("refused rather than changed"));
  EXPECT_THAT(Refusal(Grammar("start ::= \"a\"")), HasSubstr("root"));
  EXPECT_THAT(Refusal(Grammar("root ::= root")), HasSubstr("no text"));
  EXPECT_THAT(Refusal(Grammar("root[max_chars=1] ::= [a-z]+")), HasSubstr("max_chars"));
  EXPECT_THAT(Refusal(Choice({})), HasSubstr("at least one"));
  EXPECT_THAT(Refusal(Choice({"a", ""})), HasSubstr("empty choice"));
  EXPECT_THAT(Refusal(Choice(std::vector<std::string>(2000, "a"))), HasSubstr("1024"));
  EXPECT_THAT(Refusal(Regex(std::string(100'000, 'a'))), HasSubstr("at most 65536 bytes"));
  EXPECT_THAT(Refusal({.kind = Kind::kJsonSchema, .source = "{\"not\": {}}", .field = "f"}), HasSubstr("at $: "));
  EXPECT_THAT(Refusal(TagOf(R"({"type": "regex", "pattern": "(a"})")), HasSubstr("not closed"));
  EXPECT_THAT(Refusal(TagOf(R"({"type": "grammar", "grammar": "start ::= \"a\""})")), HasSubstr("root"));
  EXPECT_THAT(Refusal(TagOf(R"({"type": "any_tokens"})")), HasSubstr("the type \"any_tokens\" is not supported"));
  EXPECT_THAT(Refusal(TagOf(std::string(70'000, ' '))), HasSubstr("at most 65536 bytes"));
}

TEST_F(GrammarCompilerTest, SaysSoBrieflyAndInWholeCharacters) {
  std::string accents;
  for (int i = 0; i < 10'000; ++i) accents += "\xC3\xA9";
  for (const std::string& source : {"(?=" + accents + ")", "x" + accents + "(", "\\" + accents + "["}) {
    const std::string message = Refusal(Regex(source));
    EXPECT_LT(message.size(), 600u);
    EXPECT_EQ(FindInvalidUtf8(message), std::nullopt);
  }
}

TEST_F(GrammarCompilerTest, SurvivesWhatIsNestedDeepOrRefersToItself) {
  const std::string open(30'000, '('), close(30'000, ')');
  Refusal(Regex(open + "a" + close));
  Refusal(Grammar("root ::= Regex(\"" + open + "a" + close + "\")"));
  Refusal(Regex("a" + std::string(60'000, '*')));
  Refusal({.kind = Kind::kJsonSchema, .source = R"({"type": "string", "pattern": ")" + open + R"("})", .field = "f"});
  Refusal(Grammar("root ::= " + open + "\"a\"" + close));
  Refusal(Grammar("root ::= a\na ::= b\nb ::= a"));
  Refusal({.kind = Kind::kJsonSchema, .source = R"({"$ref": "#"})", .field = "f"});
  Refusal(TagOf(R"({"type": "json_schema", "json_schema": {"$ref": "#"}})"));
  Refusal({.kind = Kind::kJsonSchema,
           .source = R"({"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"})",
           .field = "f"});
}

TEST_F(GrammarCompilerTest, GivesUpOnWhatCostsTooMuch) {
  GrammarCompiler quick(tokenizer_, {.max_time = absl::ZeroDuration()});
  EXPECT_THAT(std::string(quick.Compile(Regex("(abc|[d-x]{1,30}){2,9}")).status().message()),
              HasSubstr("too much time"));
  GrammarCompiler small(tokenizer_, {.max_memory = 20'000});
  EXPECT_THAT(std::string(small.Compile(Regex("(abc|[d-x]{1,30}){2,9}")).status().message()),
              HasSubstr("too much memory"));
  const OutputFormat tag =
      TagOf(R"({"type": "plus", "content": {"type": "regex", "pattern": "(abc|[d-x]{1,30}){9}"}})");
  EXPECT_THAT(std::string(quick.Compile(tag).status().message()), HasSubstr("too much time"));
  EXPECT_THAT(std::string(small.Compile(tag).status().message()), HasSubstr("too much memory"));
}

TEST_F(GrammarCompilerTest, GivesUpOnWhatWouldTakeForEver) {
  const auto repeated = [](const std::string& part, int times) {
    std::string all;
    for (int i = 0; i < times; ++i) all += part;
    return all;
  };
  for (const std::string& regex :
       {repeated("[^a]", 12'000), repeated(".*a", 15'000), repeated("a?", 30'000), repeated("(.?a?b?){32}", 20)}) {
    EXPECT_TRUE(absl::IsInvalidArgument(compiler_.Compile(Regex(regex)).status())) << regex.substr(0, 30);
  }
}

// An allocation that fails anywhere leaves nothing behind that a later compilation trips over.
TEST_F(GrammarCompilerTest, CanBeStoppedAtAnyAllocation) {
  const OutputFormat format = {
      .kind = Kind::kJsonSchema,
      .source = R"({"type": "object", "properties": {"a": {"type": "string", "pattern": "^[a-c]{1,3}$"},
                    "b": {"anyOf": [{"enum": ["x", "y"]}, {"$ref": "#"}]}}, "required": ["a"]})",
      .field = "f"};
  const auto bytes_tokenizer = MakeTokenizer(TinyTokenizerSpec({}, {{"<end>", TokenKind::kControl}})).value();
  int refused = 0;
  bool compiled = false;
  for (int64_t bytes = 512; !compiled; bytes += bytes / 64) {
    ASSERT_LT(bytes, int64_t{64} << 20);
    GrammarCompiler compiler(*bytes_tokenizer, {.max_time = absl::Seconds(100), .max_memory = bytes});
    compiled = compiler.Compile(format).ok();
    refused += !compiled;
  }
  EXPECT_GT(refused, 50);
}

TEST_F(GrammarCompilerTest, KeepsTheLastUsedWithinItsBytes) {
  const auto first = compiler_.Compile(Regex("a+"));
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(compiler_.Find(Regex("a+")), *first);
  EXPECT_EQ(*compiler_.Compile(Regex("a+")), *first);
  EXPECT_EQ(compiler_.Find(Grammar("a+")), nullptr);
  EXPECT_EQ(compiler_.Find(Choice({"a+"})), nullptr);
  const OutputFormat tag = TagOf(R"({"type": "any_text"})");
  const auto compiled_tag = compiler_.Compile(tag);
  ASSERT_TRUE(compiled_tag.ok());
  EXPECT_EQ(compiler_.Find(tag), *compiled_tag);

  GrammarCompiler small(tokenizer_, {.max_cached_bytes = 1'000'000});
  const std::string wide(1000, 'b');
  ASSERT_TRUE(small.Compile(Choice({"a"})).ok());
  for (int i = 0; i < 50; ++i) {
    ASSERT_NE(small.Find(Choice({"a"})), nullptr) << i;
    ASSERT_TRUE(small.Compile(Choice({std::to_string(i) + "b", wide})).ok());
  }
  EXPECT_EQ(small.Find(Choice({"0b", wide})), nullptr);
}

}  // namespace
}  // namespace quire
