#include "server/grammar/grammar_compiler.h"

#include <xgrammar/compiler.h>
#include <xgrammar/config.h>

#include <algorithm>
#include <exception>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/tokenizer/utf8.h"
#include "engine/types/status_macros.h"
#include "server/grammar/ebnf.h"
#include "server/grammar/grammar_constraint.h"
#include "server/grammar/json_schema_check.h"
#include "server/grammar/regex_check.h"
#include "server/grammar/structural_tag_reader.h"
#include "server/grammar/work_budget.h"
#include "server/grammar/xgrammar_log.h"
#include "server/status_details.h"

namespace quire {
namespace {

// Rules within rules. Each level takes some hundred bytes of stack.
constexpr int kMaxRecursion = 512;
// Between two parts of a JSON text. Unbounded, models that have lost the thread write nothing else any more.
constexpr int kMaxJsonWhitespace = 24;
constexpr size_t kMaxChoices = 1024;

std::string KeyOf(const OutputFormat& format) {
  std::string key = absl::StrCat(static_cast<int>(format.kind), ":", format.source);
  for (const std::string& choice : format.choices) absl::StrAppend(&key, "\n", choice.size(), ":", choice);
  if (format.kind == OutputFormat::Kind::kFrames) key += StructuralTag(format, kMaxJsonWhitespace);
  return key;
}

absl::Status CheckSize(const OutputFormat& format, size_t max_bytes) {
  size_t bytes = format.source.size();
  for (const std::string& choice : format.choices) bytes += choice.size();
  for (const OutputFormat::Frame& frame : format.frames) bytes += frame.schema.size();
  if (bytes <= max_bytes) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("must be at most ", max_bytes, " bytes long, got ", bytes));
}

absl::Status CheckChoices(const std::vector<std::string>& choices) {
  if (choices.empty()) return absl::InvalidArgumentError("must have at least one choice");
  if (choices.size() > kMaxChoices) {
    return absl::InvalidArgumentError(
        absl::StrCat("must have at most ", kMaxChoices, " choices, got ", choices.size()));
  }
  for (const std::string& choice : choices) {
    if (choice.empty()) return absl::InvalidArgumentError("must not have an empty choice");
  }
  return absl::OkStatus();
}

absl::Status CheckFrames(const std::vector<OutputFormat::Frame>& frames) {
  for (const OutputFormat::Frame& frame : frames) RETURN_IF_ERROR(CheckJsonSchema(frame.schema));
  return absl::OkStatus();
}

// INVALID_ARGUMENT if anything is wrong with `format` that can be seen before it is compiled. A structural tag is
// changed to what xgrammar takes.
absl::Status Check(OutputFormat& format, const GrammarLimits& limits) {
  RETURN_IF_ERROR(CheckSize(format, limits.max_source_bytes));
  if (format.kind == OutputFormat::Kind::kJsonSchema) return CheckJsonSchema(format.source);
  if (format.kind == OutputFormat::Kind::kChoice) return CheckChoices(format.choices);
  if (format.kind == OutputFormat::Kind::kFrames) return CheckFrames(format.frames);
  if (format.kind == OutputFormat::Kind::kStructuralTag) {
    ASSIGN_OR_RETURN(format.source, ReadStructuralTag(format.source, kMaxJsonWhitespace));
    return absl::OkStatus();
  }
  if (format.kind == OutputFormat::Kind::kRegex) RETURN_IF_ERROR(CheckRegex(format.source));
  if (format.kind == OutputFormat::Kind::kGrammar) RETURN_IF_ERROR(CheckEbnf(format.source));
  const bool needs_source = format.kind != OutputFormat::Kind::kJsonObject;
  return needs_source && format.source.empty() ? absl::InvalidArgumentError("must not be empty") : absl::OkStatus();
}

xgrammar::Grammar FromJsonSchema(const std::string& schema) {
  return xgrammar::Grammar::FromJSONSchema(schema, /*any_whitespace=*/true, /*indent=*/std::nullopt,
                                           /*separators=*/std::nullopt, /*strict_mode=*/true, kMaxJsonWhitespace);
}

xgrammar::Grammar FromChoices(const std::vector<std::string>& choices) {
  std::vector<std::string> literals;
  for (const std::string& choice : choices) literals.push_back(EbnfLiteral(choice));
  return xgrammar::Grammar::FromEBNF(absl::StrCat("root ::= ", absl::StrJoin(literals, " | ")));
}

xgrammar::Grammar FromStructuralTag(const std::string& tag) {
  auto grammar = xgrammar::Grammar::FromStructuralTag(tag);
  if (const auto* error = std::get_if<xgrammar::StructuralTagError>(&grammar)) {
    std::visit([](const auto& problem) { throw problem; }, *error);
  }
  return std::get<xgrammar::Grammar>(std::move(grammar));
}

xgrammar::Grammar ToGrammar(const OutputFormat& format) {
  switch (format.kind) {
    case OutputFormat::Kind::kJsonSchema:
      return FromJsonSchema(format.source);
    case OutputFormat::Kind::kRegex:
      return xgrammar::Grammar::FromEBNF(EbnfOfRegex(format.source));
    case OutputFormat::Kind::kGrammar:
      return xgrammar::Grammar::FromEBNF(format.source);
    case OutputFormat::Kind::kChoice:
      return FromChoices(format.choices);
    case OutputFormat::Kind::kFrames:
      return FromStructuralTag(StructuralTag(format, kMaxJsonWhitespace));
    case OutputFormat::Kind::kStructuralTag:
      return FromStructuralTag(format.source);
    case OutputFormat::Kind::kJsonObject:
    case OutputFormat::Kind::kFree:
      break;
  }
  return FromJsonSchema(R"({"type": "object", "additionalProperties": true})");
}

// Whether an answer can begin at all, within the bounds that it has later.
absl::Status CheckBeginning(const TokenConstraint& constraint, int vocab_size) {
  std::vector<uint32_t> allowed(xgrammar::GetBitmaskSize(vocab_size));
  if (absl::Status status = constraint.Clone()->FillMask(allowed); !status.ok()) {
    return absl::InvalidArgumentError(absl::StrCat("cannot be used: ", status.message()));
  }
  const bool any = std::any_of(allowed.begin(), allowed.end(), [](uint32_t word) { return word != 0; });
  return any ? absl::OkStatus() : absl::InvalidArgumentError("cannot be used: there is no text that it accepts");
}

// A library's message may quote all of the source, and cut it within a character.
absl::Status Refusal(const OutputFormat& format, absl::string_view problem) {
  constexpr size_t kShownBytes = 400;
  std::string shown;
  AppendValidUtf8({problem.data(), std::min(problem.size(), kShownBytes)}, /*at_end=*/true, shown);
  if (problem.size() > kShownBytes) shown += "...";
  return InvalidField(format.field, shown);
}

xgrammar::TokenizerInfo ReadVocabulary(const Tokenizer& tokenizer) {
  std::vector<std::string> tokens;
  for (TokenId token = 0; token < tokenizer.vocab_size(); ++token) {
    // Control tokens have no bytes, and are thereby kept out of every text.
    tokens.emplace_back(tokenizer.TokenBytes(token, /*keep_special=*/false));
  }
  return xgrammar::TokenizerInfo(tokens, xgrammar::VocabType::RAW, tokenizer.vocab_size(), tokenizer.end_tokens());
}

}  // namespace

struct GrammarCompiler::Vocabulary {
  explicit Vocabulary(const Tokenizer& tokenizer)
      : compiler(ReadVocabulary(tokenizer), /*max_threads=*/1, /*cache_enabled=*/false) {}
  xgrammar::GrammarCompiler compiler;
};

GrammarCompiler::GrammarCompiler(const Tokenizer& tokenizer, GrammarLimits limits)
    : tokenizer_(tokenizer), limits_(limits) {
  xgrammar::SetMaxRecursionDepth(kMaxRecursion);
}

GrammarCompiler::~GrammarCompiler() = default;

GrammarCompiler::ConstraintPtr GrammarCompiler::Find(const OutputFormat& format) {
  const std::string key = KeyOf(format);
  std::lock_guard lock(mutex_);
  const auto found = by_key_.find(key);
  if (found == by_key_.end()) return nullptr;
  entries_.splice(entries_.begin(), entries_, found->second);
  return found->second->constraint;
}

absl::StatusOr<GrammarCompiler::ConstraintPtr> GrammarCompiler::Compile(const OutputFormat& format) {
  if (ConstraintPtr found = Find(format)) return found;
  OutputFormat checked = format;
  if (absl::Status status = Check(checked, limits_); !status.ok()) return Refusal(format, status.message());
  try {
    if (vocabulary_ == nullptr) vocabulary_ = std::make_unique<Vocabulary>(tokenizer_);
    ConstraintPtr constraint;
    int64_t bytes = 0;
    {
      WorkBudget budget(limits_.max_memory);
      const WorkBudget::Scope scope(budget, limits_.max_time);
      const xgrammar::CompiledGrammar compiled = vocabulary_->compiler.CompileGrammar(ToGrammar(checked));
      constraint = std::make_shared<GrammarConstraint>(compiled);
      bytes = static_cast<int64_t>(compiled.MemorySizeBytes());
    }
    const absl::Status status = CheckBeginning(*constraint, tokenizer_.vocab_size());
    if (!status.ok()) return Refusal(format, status.message());
    Keep(KeyOf(format), constraint, bytes);
    return constraint;
  } catch (const WorkBudget::Exhausted& exhausted) {
    return Refusal(format, absl::StrCat("takes ", exhausted.what(), " to compile: more than ",
                                        absl::FormatDuration(limits_.max_time), " or ", limits_.max_memory >> 20,
                                        " MiB; strings of bounded length cost most"));
  } catch (const xgrammar::LogFatalError& error) {
    return Refusal(format, absl::StrCat("cannot be used: ", error.what()));
  } catch (const std::exception& error) {  // Of the libraries below it, about a value that is not what it must be.
    return Refusal(format, absl::StrCat("cannot be read: ", error.what()));
  }
}

void GrammarCompiler::Keep(std::string key, ConstraintPtr constraint, int64_t bytes) {
  bytes += static_cast<int64_t>(2 * key.size());
  if (bytes > limits_.max_cached_bytes) return;
  std::lock_guard lock(mutex_);
  entries_.push_front({key, std::move(constraint), bytes});
  by_key_.emplace(std::move(key), entries_.begin());
  cached_bytes_ += bytes;
  while (cached_bytes_ > limits_.max_cached_bytes) {
    cached_bytes_ -= entries_.back().bytes;
    by_key_.erase(entries_.back().key);
    entries_.pop_back();
  }
}

}  // namespace quire
