#include "server/grammar/grammar_constraint.h"

#include <algorithm>
#include <exception>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/check.h"

namespace quire {
namespace {

constexpr int64_t kMaxStateBytes = int64_t{32} << 20;
// A mask takes 0.03 ms as a rule; a pattern that may end after every character, up to 15 ms.
constexpr absl::Duration kMaxCallTime = absl::Milliseconds(100);

xgrammar::GrammarMatcher MakeMatcher(const xgrammar::CompiledGrammar& grammar) {
  // A model without end tokens can only be stopped from outside: as soon as there is a complete text.
  const bool stop_when_complete = grammar.GetTokenizerInfo().GetStopTokenIds().empty();
  return xgrammar::GrammarMatcher(grammar, std::nullopt, stop_when_complete);
}

}  // namespace

GrammarConstraint::GrammarConstraint(const xgrammar::CompiledGrammar& grammar)
    : matcher_(MakeMatcher(grammar)), vocab_size_(grammar.GetTokenizerInfo().GetVocabSize()), budget_(kMaxStateBytes) {}

GrammarConstraint::GrammarConstraint(xgrammar::GrammarMatcher matcher, int vocab_size)
    : matcher_(std::move(matcher)), vocab_size_(vocab_size), budget_(kMaxStateBytes) {}

std::unique_ptr<TokenConstraint> GrammarConstraint::Clone() const {
  return std::unique_ptr<TokenConstraint>(new GrammarConstraint(matcher_.Fork(), vocab_size_));
}

template <typename Call>
absl::Status GrammarConstraint::Bounded(const Call& call) {
  try {
    const WorkBudget::Scope scope(budget_, kMaxCallTime);
    return call();
  } catch (const WorkBudget::Exhausted& exhausted) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the output format takes ", exhausted.what(), " to follow: it can be read in too many ways"));
  } catch (const std::exception& error) {
    return absl::InternalError(absl::StrCat("following the output format failed: ", error.what()));
  }
}

absl::Status GrammarConstraint::FillMask(std::span<uint32_t> allowed) {
  constexpr int kWordBits = 32;
  const size_t num_words = xgrammar::GetBitmaskSize(vocab_size_);
  QUIRE_CHECK(allowed.size() >= num_words);
  const absl::Status status = Bounded([&] {
    int64_t shape[] = {static_cast<int64_t>(num_words)};
    DLTensor mask = {};
    mask.data = allowed.data();
    mask.device = {kDLCPU, 0};
    mask.ndim = 1;
    mask.dtype = xgrammar::GetBitmaskDLType();
    mask.shape = shape;
    matcher_.FillNextTokenBitmask(&mask);
    return absl::OkStatus();
  });
  // Tokens that the vocabulary does not have.
  std::ranges::fill(allowed.subspan(num_words), 0);
  if (const int rest = vocab_size_ % kWordBits; rest != 0) allowed[num_words - 1] &= (uint32_t{1} << rest) - 1;
  return status;
}

absl::Status GrammarConstraint::Accept(TokenId token) {
  return Bounded([&] {
    if (matcher_.AcceptToken(token)) return absl::OkStatus();
    return absl::InternalError(absl::StrCat("token ", token, " was chosen, which the output format does not allow"));
  });
}

}  // namespace quire
