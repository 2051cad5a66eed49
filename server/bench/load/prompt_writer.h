// Turns the pieces of a prompt into what is sent: random token ids, or as many common English words, each of which is
// about one token of any tokenizer.
#pragma once

#include <vector>

#include "server/bench/load/transport.h"
#include "server/bench/load/workload.h"

namespace quire {

class PromptWriter {
 public:
  // `vocab_size` matters to token ids only; 0 stands for one that is common to nearly all models.
  PromptWriter(PromptForm form, int vocab_size);

  // The same pieces always give the same passage. Pieces with a text of their own need PromptForm::kText.
  Passage Write(const std::vector<PromptPiece>& pieces) const;

 private:
  const PromptForm form_;
  const int first_id_;
  const int num_ids_;
};

}  // namespace quire
