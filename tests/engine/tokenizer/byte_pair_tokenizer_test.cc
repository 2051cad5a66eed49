#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "engine/tokenizer/tokenizer.h"
#include "tests/fakes/tiny_tokenizer.h"

namespace quire {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::unique_ptr<Tokenizer> Make(TokenizerSpec spec) {
  auto tokenizer = MakeTokenizer(std::move(spec));
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return *std::move(tokenizer);
}

std::vector<TokenId> Encode(const Tokenizer& tokenizer, std::string_view text, EncodeOptions options = {}) {
  auto ids = tokenizer.Encode(text, options);
  EXPECT_TRUE(ids.ok()) << ids.status();
  return *std::move(ids);
}

void ExpectRefused(TokenizerSpec spec, const std::string& message) {
  const auto tokenizer = MakeTokenizer(std::move(spec));
  EXPECT_EQ(tokenizer.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(tokenizer.status().message()), HasSubstr(message));
}

std::string Repeat(std::string_view unit, size_t num_bytes) {
  std::string text;
  while (text.size() < num_bytes) text += unit;
  return text;
}

TEST(BytePairTokenizer, EncodesBytesWhereNothingMerges) {
  const auto tokenizer = Make(TinyTokenizerSpec({}));
  EXPECT_THAT(Encode(*tokenizer, "a \n\xC3\xA9"), ElementsAre('a', ' ', '\n', 0xC3, 0xA9));
  EXPECT_THAT(Encode(*tokenizer, std::string_view("\0", 1)), ElementsAre(0));
  EXPECT_THAT(Encode(*tokenizer, ""), IsEmpty());
}

TEST(BytePairTokenizer, MergesTheBestRankFirstAndOfThoseTheLeftmost) {
  const auto tokenizer = Make(TinyTokenizerSpec({"b c", "a b", "a a", "aa a"}));
  EXPECT_THAT(Encode(*tokenizer, "abc"), ElementsAre('a', 256));
  EXPECT_THAT(Encode(*tokenizer, "abd"), ElementsAre(257, 'd'));
  EXPECT_THAT(Encode(*tokenizer, "aaaa"), ElementsAre(258, 258));
  EXPECT_THAT(Encode(*tokenizer, "aaa"), ElementsAre(259));
  EXPECT_THAT(Encode(*tokenizer, "aaaaa"), ElementsAre(258, 259));
}

// The plainest reading of the rule, in quadratic time.
std::vector<TokenId> MergeNaively(const TokenizerSpec& spec, std::string_view word) {
  std::vector<std::string> symbols;
  for (const char byte : word) symbols.emplace_back(1, byte);
  for (;;) {
    size_t best_rank = spec.merges.size(), best_at = 0;
    for (size_t i = 0; i + 1 < symbols.size(); ++i) {
      const auto merge = std::find(spec.merges.begin(), spec.merges.end(), symbols[i] + " " + symbols[i + 1]);
      const size_t rank = merge - spec.merges.begin();
      if (rank < best_rank) best_rank = rank, best_at = i;
    }
    if (best_rank == spec.merges.size()) break;
    symbols[best_at] += symbols[best_at + 1];
    symbols.erase(symbols.begin() + best_at + 1);
  }
  std::vector<TokenId> ids;
  for (const std::string& symbol : symbols) {
    ids.push_back(std::find(spec.tokens.begin(), spec.tokens.end(), symbol) - spec.tokens.begin());
  }
  return ids;
}

// Random merges, so that a pair may also come to rank before the pair it was made by.
TEST(BytePairTokenizer, MergesAsTheRuleSaysWhateverTheRanks) {
  for (uint32_t seed = 0; seed < 200; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    std::vector<std::string> parts = {"a", "b", "c"}, merges;
    for (int i = 0; i < 12; ++i) {
      const std::string left = parts[random() % parts.size()], right = parts[random() % parts.size()];
      parts.push_back(left + right);
      merges.push_back(left + " " + right);
    }
    std::shuffle(merges.begin(), merges.end(), random);
    const TokenizerSpec spec = TinyTokenizerSpec(merges);
    const auto tokenizer = Make(spec);
    for (int i = 0; i < 20; ++i) {
      std::string word;
      for (size_t n = random() % 40; n > 0; --n) word += "abc"[random() % 3];
      ASSERT_EQ(Encode(*tokenizer, word), MergeNaively(spec, word)) << word;
    }
  }
}

TEST(BytePairTokenizer, TakesLongRunsOfAnythingWithoutSlowingDown) {
  TokenizerSpec spec = TinyTokenizerSpec({"a a", "aa aa", "Ġ Ġ", "ĠĠ ĠĠ", "Ċ Ċ", "' '", "= ="});
  for (const char* pre : {"gpt-2", "smollm", "llama-bpe", "qwen2", "gpt-4o", "tekken"}) {
    SCOPED_TRACE(pre);
    spec.pre = pre;
    const auto tokenizer = Make(spec);
    for (const std::string unit :
         {"a",  "A",      "Aa", " ",  "\n",  " \n",    "\r\n",         "7",      "\u0301", "'",
          "'s", "\u4e2d", "=",  " x", "\t ", "\u00a0", "\u4e2d\u0301", "\u01c5", "<",      "<|im_"}) {
      SCOPED_TRACE(unit);
      for (const std::string end : {"", "x1\n"}) {
        const std::string text = Repeat(unit, 1 << 16) + end;
        const auto ids = Encode(*tokenizer, text, {.parse_special = true});
        EXPECT_EQ(*Decode(*tokenizer, ids, false), text);
      }
    }
    EXPECT_EQ(Encode(*tokenizer, Repeat("a", 1 << 20)).size(), 1u << 18);
  }
}

TEST(BytePairTokenizer, FindsUserDefinedTokensAlwaysAndControlTokensWhenAsked) {
  const auto tokenizer = Make(TinyTokenizerSpec({}, {{"<x>", TokenKind::kUserDefined},
                                                     {"<c>", TokenKind::kControl},
                                                     {"<unk>", TokenKind::kUnknown},
                                                     {"<no>", TokenKind::kUnused}}));
  EXPECT_THAT(Encode(*tokenizer, "a<x>b"), ElementsAre('a', 256, 'b'));
  EXPECT_THAT(Encode(*tokenizer, "<c>"), ElementsAre('<', 'c', '>'));
  EXPECT_THAT(Encode(*tokenizer, "<c><unk>", {.parse_special = true}), ElementsAre(257, 258));
  EXPECT_THAT(Encode(*tokenizer, "<no>", {.parse_special = true}), ElementsAre('<', 'n', 'o', '>'));
}

TEST(BytePairTokenizer, TakesTheLongestAddedTokenAtTheFirstPlace) {
  const auto tokenizer = Make(TinyTokenizerSpec(
      {}, {{"ab", TokenKind::kUserDefined}, {"abcd", TokenKind::kUserDefined}, {"bcde", TokenKind::kUserDefined}}));
  EXPECT_THAT(Encode(*tokenizer, "abcde"), ElementsAre(257, 'e'));
  EXPECT_THAT(Encode(*tokenizer, "abcx"), ElementsAre(256, 'c', 'x'));
  EXPECT_THAT(Encode(*tokenizer, "xbcdeab"), ElementsAre('x', 258, 256));
}

TEST(BytePairTokenizer, DoesNotMergeAcrossWordsOrAddedTokens) {
  const auto tokenizer = Make(TinyTokenizerSpec({"a b", "a Ġ"}, {{"|", TokenKind::kUserDefined}}));
  EXPECT_THAT(Encode(*tokenizer, "a b"), ElementsAre('a', ' ', 'b'));
  EXPECT_THAT(Encode(*tokenizer, "ab|ab"), ElementsAre(256, 258, 256));
  EXPECT_THAT(Encode(*tokenizer, "a|b"), ElementsAre('a', 258, 'b'));
}

TEST(BytePairTokenizer, PutsBosAndEosAroundAPromptWhereTheFileSaysSo) {
  TokenizerSpec spec = TinyTokenizerSpec({}, {{"<s>", TokenKind::kControl}, {"</s>", TokenKind::kControl}});
  spec.bos = 256;
  spec.eos = 257;
  EXPECT_THAT(Encode(*Make(spec), "a", {.add_special = true}), ElementsAre('a'));
  spec.add_bos = spec.add_eos = true;
  EXPECT_THAT(Encode(*Make(spec), "a", {.add_special = true}), ElementsAre(256, 'a', 257));
  EXPECT_THAT(Encode(*Make(spec), "a"), ElementsAre('a'));
}

TEST(BytePairTokenizer, LeavesOutBytesThatHaveNoToken) {
  TokenizerSpec spec = TinyTokenizerSpec({"a b"});
  spec.tokens[4] = "unused";
  EXPECT_THAT(Encode(*Make(spec),
                     "a\x04"
                     "b"),
              ElementsAre('a', 'b'));  // The splitter parts them.
  EXPECT_THAT(Encode(*Make(spec), "\x04"), IsEmpty());
}

TEST(BytePairTokenizer, TakesWholeWordsWhereThePreTokenizerPrefersThem) {
  TokenizerSpec spec = TinyTokenizerSpec({"a b"});
  spec.tokens.push_back("abc");
  spec.kinds.push_back(TokenKind::kNormal);
  EXPECT_THAT(Encode(*Make(spec), "abc"), ElementsAre(256, 'c'));
  spec.pre = "llama-bpe";
  EXPECT_THAT(Encode(*Make(spec), "abc"), ElementsAre(257));
}

TEST(BytePairTokenizer, RefusesInvalidUtf8AndNamesTheByte) {
  const auto tokenizer = Make(TinyTokenizerSpec({}));
  for (const std::string broken :
       {"\x80", "\xC3", "\xC0\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xE4\xB8", "\xFF"}) {
    const auto ids = tokenizer->Encode("0123456789" + broken, {});
    EXPECT_EQ(ids.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(ids.status().message()), HasSubstr("at byte 10"));
  }
}

TEST(BytePairTokenizer, GivesControlTokensNoTextUnlessAsked) {
  const auto tokenizer =
      Make(TinyTokenizerSpec({"Ġ a"}, {{"<c>", TokenKind::kControl}, {"é", TokenKind::kUserDefined}}));
  EXPECT_EQ(tokenizer->TokenBytes(256, false), " a");
  EXPECT_EQ(tokenizer->TokenBytes(257, false), "");
  EXPECT_EQ(tokenizer->TokenBytes(257, true), "<c>");
  EXPECT_EQ(tokenizer->TokenBytes(258, false), "é");
  EXPECT_EQ(tokenizer->TokenBytes(0xE9, false), "\xE9");
}

TEST(BytePairTokenizer, KnowsEveryTokenThatEndsATurn) {
  TokenizerSpec spec = TinyTokenizerSpec({}, {{"<|im_end|>", TokenKind::kControl},
                                              {"<|start|>", TokenKind::kControl},
                                              {"<mine>", TokenKind::kControl},
                                              {"<|end|>", TokenKind::kUserDefined},
                                              {"<|endoftext|>", TokenKind::kControl}});
  EXPECT_THAT(Make(spec)->end_tokens(), ElementsAre(256, 260));
  spec.eos = 258;
  spec.eot = 256;
  EXPECT_THAT(Make(spec)->end_tokens(), ElementsAre(256, 258, 260));
}

TEST(BytePairTokenizer, DecodesWithReplacementCharactersAndNamesIdsOutOfRange) {
  const auto tokenizer = Make(TinyTokenizerSpec({}));
  EXPECT_EQ(*Decode(*tokenizer, {'a', 0xC3, 'b', 0xF0, 0x9F, 0x98}, false), "a\uFFFDb\uFFFD");
  for (const TokenId id : {-1, 256, INT32_MAX, INT32_MIN}) {
    const auto text = Decode(*tokenizer, {0, id}, false);
    EXPECT_EQ(text.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(text.status().message()), HasSubstr("token_ids[1]"));
  }
}

TEST(MakeTokenizer, RefusesWhatContradictsItself) {
  const TokenizerSpec good = TinyTokenizerSpec({"a b"}, {{"<c>", TokenKind::kControl}});
  ASSERT_TRUE(MakeTokenizer(good).ok());
  TokenizerSpec spec = good;
  spec.tokens.clear();
  ExpectRefused(spec, "tokenizer.ggml.tokens has 0");
  spec = good;
  spec.kinds.pop_back();
  ExpectRefused(spec, "tokenizer.ggml.token_type has 257");
  for (const char* merge : {"a", "a b c", "ab", " a", "a ", "a nothing", "a  b", "", "< c>", "x y"}) {
    spec = good;
    spec.merges.push_back(merge);
    ExpectRefused(spec, "merge 1");
  }
  for (const TokenId id : {-2, 258, INT32_MAX, INT32_MIN}) {
    spec = good, spec.bos = id, ExpectRefused(spec, "tokenizer.ggml.bos_token_id");
    spec = good, spec.eos = id, ExpectRefused(spec, "tokenizer.ggml.eos_token_id");
    spec = good, spec.eot = id, ExpectRefused(spec, "tokenizer.ggml.eot_token_id");
    spec = good, spec.unknown = id, ExpectRefused(spec, "tokenizer.ggml.unknown_token_id");
    spec = good, spec.padding = id, ExpectRefused(spec, "tokenizer.ggml.padding_token_id");
  }
  spec = good;
  spec.tokens['A'] = "unused";
  ExpectRefused(spec, "no token for the byte 65");
  spec = good;
  spec.add_bos = true;
  ExpectRefused(spec, "add_bos_token");
  spec = good;
  spec.add_eos = true;
  ExpectRefused(spec, "add_eos_token");
  spec = good;
  spec.kinds[0] = TokenKind::kByte;
  ExpectRefused(spec, "token_type: token 0");
  spec = good;
  spec.tokens.back() = std::string(100'000, '<');
  ExpectRefused(spec, "the added token 257 has 100000 bytes");
}

TEST(MakeTokenizer, NamesWhatIsNotSupported) {
  TokenizerSpec spec = TinyTokenizerSpec({});
  spec.pre = "klingon";
  ExpectRefused(spec, "\"klingon\" is not known");
  spec.pre = "gpt-2";
  spec.add_space_prefix = true;
  ExpectRefused(spec, "add_space_prefix");
  spec.model = "llama";
  ExpectRefused(spec, "tokenizer.ggml.model \"llama\" is not supported");
}

TEST(MakeTokenizer, TakesDuplicateTokensAndPrefersTheFirst) {
  TokenizerSpec spec = TinyTokenizerSpec({"a b", "a b"}, {{"<c>", TokenKind::kControl}, {"<c>", TokenKind::kControl}});
  const auto tokenizer = Make(spec);
  EXPECT_THAT(Encode(*tokenizer, "ab<c>", {.parse_special = true}), ElementsAre(256, 258));
  EXPECT_EQ(tokenizer->TokenBytes(257, false), "ab");
}

}  // namespace
}  // namespace quire
