// Any bytes as an output format, the first of which says what kind: refused, or followed for some tokens, and nothing
// else. Masks and what is accepted must agree.
#include <bit>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "kernels/check.h"
#include "server/grammar/grammar_compiler.h"
#include "tests/fakes/tiny_tokenizer.h"

namespace {

// The token that the state allows after `skipped` others, or -1.
int Pick(const std::vector<uint32_t>& mask, unsigned skipped) {
  unsigned count = 0;
  for (const uint32_t word : mask) count += std::popcount(word);
  if (count == 0) return -1;
  skipped %= count;
  for (int token = 0;; ++token) {
    if ((mask[token / 32] >> token % 32 & 1) != 0 && skipped-- == 0) return token;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using quire::OutputFormat;
  if (size == 0) return 0;
  static const auto tokenizer =
      quire::MakeTokenizer(quire::TinyTokenizerSpec({"a b", "\" }"}, {{"<end>", quire::TokenKind::kControl}})).value();
  quire::GrammarCompiler compiler(*tokenizer);
  const OutputFormat::Kind kinds[] = {OutputFormat::Kind::kJsonSchema, OutputFormat::Kind::kRegex,
                                      OutputFormat::Kind::kGrammar, OutputFormat::Kind::kChoice,
                                      OutputFormat::Kind::kStructuralTag};
  OutputFormat format{.kind = kinds[(data[0] + 2) % 5], .field = "format"};  // The digit 0 is the first.
  const std::string text(reinterpret_cast<const char*>(data) + 1, size - 1);
  (format.kind == OutputFormat::Kind::kChoice ? format.choices.emplace_back() : format.source) = text;
  const auto compiled = compiler.Compile(format);
  if (!compiled.ok()) {
    QUIRE_CHECK(compiled.status().code() == absl::StatusCode::kInvalidArgument);
    return 0;
  }
  const std::unique_ptr<quire::TokenConstraint> state = (*compiled)->Clone();
  std::vector<uint32_t> mask((tokenizer->vocab_size() + 31) / 32);
  for (unsigned step = 0; step < 40 && !state->ended(); ++step) {
    if (!state->FillMask(mask).ok()) break;
    const int token = Pick(mask, data[step % size] + step);
    if (token < 0) break;
    const absl::Status accepted = state->Accept(token);
    QUIRE_CHECK(accepted.ok() || accepted.code() == absl::StatusCode::kResourceExhausted);
    if (!accepted.ok()) break;
  }
  return 0;
}
