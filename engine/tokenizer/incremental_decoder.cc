#include "engine/tokenizer/incremental_decoder.h"

#include <algorithm>
#include <utility>

#include "engine/tokenizer/utf8.h"
#include "kernels/check.h"

namespace quire {

IncrementalDecoder::StopString::StopString(std::string stop_text)
    : text(std::move(stop_text)), border(text.size() + 1) {
  QUIRE_CHECK(!text.empty());
  for (size_t length = 2; length <= text.size(); ++length) {
    size_t candidate = border[length - 1];
    while (candidate > 0 && text[candidate] != text[length - 1]) candidate = border[candidate];
    border[length] = text[candidate] == text[length - 1] ? candidate + 1 : 0;
  }
}

bool IncrementalDecoder::StopString::Advance(char byte) {
  if (matched == text.size()) matched = border[matched];
  while (matched > 0 && text[matched] != byte) matched = border[matched];
  if (text[matched] == byte) ++matched;
  return matched == text.size();
}

IncrementalDecoder::IncrementalDecoder(const Tokenizer* tokenizer, std::vector<std::string> stop,
                                       std::vector<TokenId> shown)
    : tokenizer_(tokenizer), shown_(std::move(shown)) {
  for (std::string& text : stop) stop_.emplace_back(std::move(text));
}

std::string IncrementalDecoder::Push(TokenId token, bool allow_stop) {
  if (stopped_) return {};
  const bool shown = std::find(shown_.begin(), shown_.end(), token) != shown_.end();
  undecoded_.append(tokenizer_->TokenBytes(token, /*keep_special=*/shown));
  Decode(/*at_end=*/false, allow_stop);
  const size_t partial = EarliestPartial();
  // A complete stop string waits for one that began before it and may still complete, since the earlier one counts.
  stopped_ = stop_begin_ && *stop_begin_ <= partial;
  return TakeUntil(stopped_ ? *stop_begin_ : partial);
}

std::string IncrementalDecoder::Finish() {
  if (stopped_) return {};
  Decode(/*at_end=*/true, /*allow_stop=*/true);
  stopped_ = stop_begin_.has_value();
  return TakeUntil(stop_begin_.value_or(text_.size()));
}

void IncrementalDecoder::Decode(bool at_end, bool allow_stop) {
  size_t begin = text_.size();
  undecoded_.erase(0, AppendValidUtf8(undecoded_, at_end, text_));
  for (; begin < text_.size(); ++begin) {
    for (size_t i = 0; i < stop_.size(); ++i) {
      if (!stop_[i].Advance(text_[begin]) || !allow_stop) continue;
      const size_t stop_begin = begin + 1 - stop_[i].text.size();
      if (stop_begin_ && *stop_begin_ <= stop_begin) continue;
      stop_begin_ = stop_begin;
      found_ = i;
    }
  }
}

size_t IncrementalDecoder::EarliestPartial() const {
  size_t longest = 0;
  for (const StopString& stop : stop_) {
    const bool complete = stop.matched == stop.text.size();
    longest = std::max(longest, complete ? stop.border[stop.matched] : stop.matched);
  }
  return text_.size() - longest;
}

std::string IncrementalDecoder::TakeUntil(size_t end) {
  std::string taken = text_.substr(taken_, end - taken_);
  taken_ = end;
  // Only now and then, so that a byte is moved a constant number of times.
  if (taken_ > text_.size() / 2) {
    if (stop_begin_) *stop_begin_ -= taken_;
    text_.erase(0, taken_);
    taken_ = 0;
  }
  return taken;
}

}  // namespace quire
