#include "server/bench/load/prompt_writer.h"

#include <algorithm>
#include <cstdint>
#include <iterator>

#include "engine/sampling/counter_rng.h"
#include "kernels/check.h"

namespace quire {
namespace {

constexpr int kCommonVocabSize = 32000;
// The first ids are control tokens and bytes in every vocabulary we know; a prompt of them would be an odd one.
constexpr int kFirstOrdinaryId = 256;

constexpr const char* kWords[] = {
    "the",   "of",      "and",   "to",     "in",    "is",    "that",    "for",     "it",    "as",      "was",
    "with",  "be",      "by",    "on",     "not",   "he",    "his",     "but",     "at",    "are",     "this",
    "have",  "from",    "or",    "had",    "an",    "they",  "which",   "one",     "you",   "were",    "her",
    "all",   "she",     "there", "would",  "their", "we",    "him",     "been",    "has",   "when",    "who",
    "will",  "more",    "no",    "if",     "out",   "so",    "said",    "what",    "up",    "its",     "about",
    "into",  "than",    "them",  "can",    "only",  "other", "new",     "some",    "could", "time",    "these",
    "two",   "may",     "then",  "do",     "first", "any",   "my",      "now",     "such",  "like",    "our",
    "over",  "man",     "me",    "even",   "most",  "made",  "after",   "also",    "did",   "many",    "before",
    "must",  "through", "years", "where",  "much",  "your",  "way",     "well",    "down",  "should",  "because",
    "each",  "just",    "those", "people", "how",   "too",   "little",  "state",   "good",  "very",    "make",
    "world", "still",   "own",   "see",    "men",   "work",  "long",    "get",     "here",  "between", "both",
    "life",  "being",   "under", "never",  "day",   "same",  "another", "know",    "while", "last",    "might",
    "us",    "great",   "old",   "year",   "off",   "come",  "since",   "against", "go",    "came",    "right",
    "used",  "take",    "three", "house",  "water", "light", "river",   "small",   "large", "night",   "hand",
    "place", "found"};

}  // namespace

PromptWriter::PromptWriter(PromptForm form, int vocab_size)
    : form_(form),
      first_id_(vocab_size > 0 ? std::min(kFirstOrdinaryId, vocab_size - 1) : kFirstOrdinaryId),
      num_ids_((vocab_size > 0 ? vocab_size : kCommonVocabSize) - first_id_) {}

Passage PromptWriter::Write(const std::vector<PromptPiece>& pieces) const {
  Passage passage;
  for (const PromptPiece& piece : pieces) {
    QUIRE_CHECK(piece.text.empty() || form_ == PromptForm::kText);
    passage.text += piece.text;
    for (int i = 0; i < piece.num_tokens; ++i) {
      const double draw = UniformAt(piece.key, i);
      if (form_ == PromptForm::kTokenIds) {
        passage.token_ids.push_back(first_id_ + static_cast<int32_t>(draw * num_ids_));
      } else {
        passage.text += ' ';
        passage.text += kWords[static_cast<size_t>(draw * std::size(kWords))];
      }
    }
  }
  return passage;
}

}  // namespace quire
