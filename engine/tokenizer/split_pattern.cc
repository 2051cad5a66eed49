#define PCRE2_CODE_UNIT_WIDTH 8
#include "engine/tokenizer/split_pattern.h"

#include <pcre2.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

namespace quire {
namespace {

// In the patterns below "$s" stands for this: Unicode's White_Space. PCRE2's own \s differs from it (it adds U+180E).
constexpr char kWhiteSpace[] =
    R"(\t-\r\x20\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";

// In every pattern a failed attempt backs over one run of characters, and the match that follows consumes that run:
// none is worse than linear, with PCRE2's JIT or without.

// GPT-2: contractions, then a word, a number or a run of signs, each with one space before it; the last space of a run
// goes to the word after it.
constexpr char kGpt2[] = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^$s\p{L}\p{N}]+|[$s]+(?![^$s])|[$s]+)";

// Digits one by one, and between them the GPT-2 pattern. A digit ends a stretch of text, so space before it stays
// whole.
constexpr char kSingleDigits[] =
    R"(\p{N}|'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?[^$s\p{L}\p{N}]+|[$s]+(?![^$s\p{N}])|[$s]+)";

// Llama 3 ($n is 1,3) and Qwen 2 ($n is 1): contractions in either case, one sign may open a word, line ends close
// signs.
constexpr char kLlama3[] =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{$n}| ?[^$s\p{L}\p{N}]+[\r\n]*|)"
    R"([$s]*[\r\n]+|[$s]+(?![^$s])|[$s]+)";

// GPT-4o (o200k; $c is its contractions, $n is 1,3) and Mistral's Tekken (neither): words also end where case says so.
constexpr char kCased[] = R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+$c|)"
                          R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*$c|)"
                          R"(\p{N}{$n}| ?[^$s\p{L}\p{N}]+[\r\n/]*|[$s]*[\r\n]+|[$s]+(?![^$s])|[$s]+)";

struct NamedPattern {
  const char* name;
  const char* pattern;
  const char* digits = "1";       // $n
  const char* contractions = "";  // $c
  bool prefers_whole_words = false;
};

constexpr char kAnyCaseContractions[] = "(?i:'s|'t|'re|'ve|'m|'ll|'d)?";

constexpr NamedPattern kPatterns[] = {
    {"default", kGpt2},
    {"gpt-2", kGpt2},
    {"gpt2", kGpt2},
    {"mpt", kGpt2},
    {"olmo", kGpt2},
    {"phi-2", kGpt2},
    {"smollm", kSingleDigits},
    {"starcoder", kSingleDigits},
    {"refact", kSingleDigits},
    {"command-r", kSingleDigits},
    {"codeshell", kSingleDigits},
    {"exaone", kSingleDigits},
    {"minerva-7b", kSingleDigits},
    {"llama-bpe", kLlama3, "1,3", "", true},
    {"llama3", kLlama3, "1,3", "", true},
    {"llama-v3", kLlama3, "1,3", "", true},
    {"falcon3", kLlama3, "1,3", "", true},
    {"smaug-bpe", kLlama3, "1,3"},
    {"dbrx", kLlama3, "1,3"},
    {"qwen2", kLlama3},
    {"deepseek-r1-qwen", kLlama3},
    {"stablelm2", kLlama3},
    {"gpt-4o", kCased, "1,3", kAnyCaseContractions},
    {"tekken", kCased, "1", "", true},
};

absl::Status MatchError(int code, size_t offset) {
  PCRE2_UCHAR message[128] = "";
  pcre2_get_error_message(code, message, sizeof(message));
  return absl::InternalError(absl::StrCat("splitting the text into words failed at byte ", offset, ": ",
                                          reinterpret_cast<const char*>(message)));
}

}  // namespace

struct SplitPattern::Code {
  explicit Code(pcre2_code* compiled) : code(compiled) {}
  ~Code() { pcre2_code_free(code); }
  Code(const Code&) = delete;
  Code& operator=(const Code&) = delete;

  pcre2_code* code;
};

absl::StatusOr<SplitPattern> SplitPattern::Make(const std::string& name) {
  const auto* named = std::find_if(std::begin(kPatterns), std::end(kPatterns),
                                   [&](const NamedPattern& candidate) { return name == candidate.name; });
  if (named == std::end(kPatterns)) {
    std::string known;
    for (const NamedPattern& candidate : kPatterns) absl::StrAppend(&known, known.empty() ? "" : ", ", candidate.name);
    return absl::InvalidArgumentError(
        absl::StrCat("tokenizer.ggml.pre: the pre-tokenizer \"", name, "\" is not known; known are ", known));
  }
  std::string pattern =
      absl::StrReplaceAll(named->pattern, {{"$s", kWhiteSpace}, {"$n", named->digits}, {"$c", named->contractions}});
  int error = 0;
  PCRE2_SIZE error_offset = 0;
  // Anchored: each search begins where the last word ended and must match there.
  pcre2_code* compiled = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                                       PCRE2_UTF | PCRE2_ANCHORED, &error, &error_offset, nullptr);
  if (compiled == nullptr) return MatchError(error, error_offset);
  // Where there is no JIT (another processor, no executable memory), pcre2_match interprets instead.
  pcre2_jit_compile(compiled, PCRE2_JIT_COMPLETE);
  return SplitPattern(std::move(pattern), std::make_unique<Code>(compiled), named->prefers_whole_words);
}

SplitPattern::SplitPattern(std::string pattern, std::unique_ptr<Code> code, bool prefers_whole_words)
    : pattern_(std::move(pattern)), code_(std::move(code)), prefers_whole_words_(prefers_whole_words) {}
SplitPattern::SplitPattern(SplitPattern&&) noexcept = default;
SplitPattern& SplitPattern::operator=(SplitPattern&&) noexcept = default;
SplitPattern::~SplitPattern() = default;

absl::Status SplitPattern::Split(std::string_view text, absl::FunctionRef<void(std::string_view)> take) const {
  const std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)> match(
      pcre2_match_data_create_from_pattern(code_->code, nullptr), pcre2_match_data_free);
  const std::unique_ptr<pcre2_match_context, decltype(&pcre2_match_context_free)> context(
      pcre2_match_context_create(nullptr), pcre2_match_context_free);
  if (match == nullptr || context == nullptr) return absl::ResourceExhaustedError("out of memory for a match");
  // A run of one class is backed over once, a step for each character: room for that, and no more.
  constexpr size_t kSpareSteps = 1'000'000;
  const size_t steps = std::min<size_t>(std::numeric_limits<uint32_t>::max(), kSpareSteps + 8 * text.size());
  pcre2_set_match_limit(context.get(), static_cast<uint32_t>(steps));

  const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(match.get());
  for (size_t begin = 0; begin < text.size(); begin = bounds[1]) {
    const int matched = pcre2_match(code_->code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), begin,
                                    PCRE2_NO_UTF_CHECK, match.get(), context.get());
    if (matched < 0) return MatchError(matched, begin);
    take(text.substr(begin, bounds[1] - begin));
  }
  return absl::OkStatus();
}

}  // namespace quire
