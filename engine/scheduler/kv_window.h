// KvWindow: which tokens of a long sequence keep their KV, so that a stream of any length needs a fixed number of pages.
// The first tokens stay, for attention always leans on them, and so do the most recent ones ("attention sinks",
// arXiv:2309.17453); what lies between is dropped, a stride at a time.
//
// What a token sees depends on its position alone, never on chunks, batches or preemption, so that output does not
// either: token p sees all before it while they fit, and later the sinks and the tokens from sink_tokens + NumDropped(p)
// on. The sinks are rotated for the positions right before those, by computing them anew each time that something was
// dropped: to them only distances among themselves matter, which stay.
#pragma once

#include "absl/status/status.h"

namespace quire {

// All in tokens, and multiples of the page size.
struct KvWindow {
  int sink_tokens = 0;
  int recent_tokens = 0;  // At most so many others; 0: every token is kept.
  int stride_tokens = 0;  // In [one page, recent_tokens].

  bool bounded() const { return recent_tokens > 0; }
  // Tokens of one sequence that are kept at most. REQUIRES: bounded(), as of all that follow.
  int capacity() const { return sink_tokens + recent_tokens; }
  // Tokens after the sinks that are gone when the token at `position` is computed; it never decreases.
  int NumDropped(int position) const;
  // The first position after this one at which more is gone: a step computes no tokens on both sides of it.
  int EndOfStretch(int position) const;
};

// INVALID_ARGUMENT names the member that is out of range. Any window that is not bounded() is valid.
absl::Status Validate(const KvWindow& window, int block_size);

}  // namespace quire
