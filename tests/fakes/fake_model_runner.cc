#include "tests/fakes/fake_model_runner.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "engine/types/sequence.h"
#include "kernels/check.h"

namespace quire {
namespace {

constexpr uint64_t kGarbage = 0xdeadbeefdeadbeefu;

uint64_t Mix(uint64_t a, uint64_t b) {
  uint64_t x = a * 0x9e3779b97f4a7c15u + b + 0x2545f4914f6cdd1du;
  x = (x ^ (x >> 32)) * 0xd6e8feb86659fd93u;
  x = (x ^ (x >> 32)) * 0xd6e8feb86659fd93u;
  return x ^ (x >> 32);
}

// What the pages of a sequence hold that is served alone.
class FakeContext {
 public:
  explicit FakeContext(const KvWindow& window) : window_(window) {}

  void Read(TokenId token) {
    const auto position = static_cast<int>(cached_.size());
    const int num_dropped = window_.bounded() ? window_.NumDropped(position) : 0;
    // The place before the token's may be a sink's.
    int before = position - 1;
    if (num_dropped > 0 && before < window_.sink_tokens + num_dropped) before -= num_dropped;
    cached_.push_back(FakeModel::Extend(before < 0 ? 0 : cached_[before], token));
    if (num_dropped == 0) {
      attended_ = FakeModel::Attend(attended_, cached_.back());
      return;
    }
    attended_ = 0;
    for (int i = 0; i <= position; ++i) {
      if (i < window_.sink_tokens || i >= window_.sink_tokens + num_dropped) {
        attended_ = FakeModel::Attend(attended_, cached_[i]);
      }
    }
  }
  uint64_t attended() const { return attended_; }

 private:
  const KvWindow window_;
  std::vector<uint64_t> cached_;
  uint64_t attended_ = 0;
};

class FakeHostPages : public HostPages {
 public:
  FakeHostPages(int num_pages, int64_t page_bytes)
      : num_pages_(num_pages), page_bytes_(page_bytes), bytes_(page_bytes * num_pages) {}
  int num_pages() const override { return num_pages_; }
  std::span<std::byte> page(int index) const override {
    QUIRE_CHECK(index >= 0 && index < num_pages_);
    return {bytes_.data() + index * page_bytes_, static_cast<size_t>(page_bytes_)};
  }

 private:
  const int num_pages_;
  const int64_t page_bytes_;
  mutable std::vector<std::byte> bytes_;
};

}  // namespace

uint64_t FakeModel::Extend(uint64_t previous, TokenId token) { return Mix(previous, static_cast<uint64_t>(token) + 1); }
uint64_t FakeModel::Attend(uint64_t attended, uint64_t cached) { return Mix(attended ^ 0x5bd1e995u, cached); }

bool FakeModel::IsEos(TokenId token) const {
  return std::find(eos_token_ids_.begin(), eos_token_ids_.end(), token) != eos_token_ids_.end();
}

bool FakeModel::IsStop(TokenId token, const SamplingParams& params) const {
  const auto& stops = params.stop_token_ids;
  return IsEos(token) || std::find(stops.begin(), stops.end(), token) != stops.end();
}

TokenId FakeModel::Next(uint64_t attended, uint64_t seed, int position, const SamplingParams& params, bool forbid_stop,
                        std::span<const uint32_t> allowed) const {
  uint64_t draw = Mix(attended, params.greedy() ? 0 : Mix(seed, static_cast<uint64_t>(position)));
  if (!allowed.empty()) return NextAllowed(draw, params, forbid_stop, allowed);
  TokenId token = 0;
  for (int attempt = 0; attempt < 64; ++attempt) {
    token = static_cast<TokenId>(draw % static_cast<uint64_t>(vocab_size_));
    if (!forbid_stop || !IsStop(token, params)) break;
    draw = Mix(draw, 1);
  }
  return token;
}

TokenId FakeModel::NextAllowed(uint64_t draw, const SamplingParams& params, bool forbid_stop,
                               std::span<const uint32_t> allowed) const {
  TokenId stop = 0;
  for (int i = 0; i < vocab_size_; ++i) {
    const auto token = static_cast<TokenId>((draw + static_cast<uint64_t>(i)) % static_cast<uint64_t>(vocab_size_));
    if ((allowed[token / 32] >> token % 32 & 1) == 0) continue;
    if (!forbid_stop || !IsStop(token, params)) return token;
    stop = token;
  }
  return stop;
}

float FakeModel::Logprob(uint64_t attended, TokenId token) {
  return -static_cast<float>(Mix(attended, static_cast<uint64_t>(token)) % 4096) / 256;
}

std::vector<TokenId> FakeModel::Generate(std::span<const TokenId> prompt, const SamplingParams& params, int index,
                                         const TokenConstraint* constraint) const {
  const uint64_t seed = SampleSeed(params.seed, index);
  FakeContext context(window_);
  for (TokenId token : prompt) context.Read(token);
  const std::unique_ptr<TokenConstraint> state = constraint == nullptr ? nullptr : constraint->Clone();
  std::vector<uint32_t> mask(state == nullptr ? 0 : (vocab_size_ + 31) / 32);
  std::vector<TokenId> output;
  while (static_cast<int>(output.size()) < params.max_tokens) {
    const int position = static_cast<int>(prompt.size() + output.size());
    const bool forbid_stop = static_cast<int>(output.size()) < params.min_tokens;
    if (state != nullptr) QUIRE_CHECK(state->FillMask(mask).ok());
    const TokenId token = Next(context.attended(), seed, position, params, forbid_stop, mask);
    output.push_back(token);
    if (state != nullptr) {
      QUIRE_CHECK(state->Accept(token).ok());
      if (state->ended()) break;
    }
    const bool stops = params.ignore_eos && IsEos(token)
                           ? std::count(params.stop_token_ids.begin(), params.stop_token_ids.end(), token) > 0
                           : IsStop(token, params);
    if (stops && !forbid_stop) break;
    context.Read(token);
  }
  return output;
}

std::vector<float> FakeModel::Embedding(uint64_t attended) {
  return {static_cast<float>(attended & 0xFFFFF), static_cast<float>(attended >> 44)};
}

std::vector<float> FakeModel::Embed(std::span<const TokenId> prompt) const {
  FakeContext context(window_);
  for (TokenId token : prompt) context.Read(token);
  return Embedding(context.attended());
}

std::vector<float> FakeModel::ScorePrompt(std::span<const TokenId> prompt) const {
  std::vector<float> scores;
  FakeContext context(window_);
  for (size_t i = 0; i + 1 < prompt.size(); ++i) {
    context.Read(prompt[i]);
    scores.push_back(Logprob(context.attended(), prompt[i + 1]));
  }
  return scores;
}

FakeModelRunner::FakeModelRunner(const FakeModel& model, int num_blocks, int block_size)
    : model_(model),
      block_size_(block_size),
      slots_(static_cast<size_t>(num_blocks) * block_size),
      tenants_(num_blocks, kUnknownTenant) {}

void FakeModelRunner::Launch(const Batch& batch, const GivesWay& gives_way) {
  Expect(static_cast<int>(steps_.size()) < max_steps_under_way(), "too many steps are under way");
  ++num_steps_;
  Step& step = steps_.emplace_back();
  step.batch = &batch;
  if (!runs_at_launch_) return;
  if (gives_way != nullptr && gives_way()) return GiveUp(step);
  Run(step);
}

void FakeModelRunner::GiveUp(Step& step) {
  Expect(steps_.size() == 1, "a step that another goes on with is given up");
  step.given_up = true;
  batch_ = step.batch;
  CheckShape();
  CheckOwnership();
  CopyPages();
  WriteGarbage(*step.batch, 0, step.batch->token_ids.size());
}

absl::StatusOr<std::span<const SampledToken>> FakeModelRunner::Await() {
  Step& step = steps_.front();
  const bool goes_on = std::ranges::any_of(step.batch->token_ids, [](TokenId token) { return token < 0; });
  if (!goes_on) status_ = absl::OkStatus();
  if (step.given_up) {
    steps_.pop_front();
    if (!violation_.empty()) return absl::InternalError(violation_);
    return absl::AbortedError("given up");
  }
  status_.Update(std::exchange(next_failure_, absl::OkStatus()));
  if (status_.ok()) {
    Run(step);
  } else {
    Spoil(*step.batch);
  }
  awaited_ = std::move(step.results);
  steps_.pop_front();
  if (!violation_.empty()) return absl::InternalError(violation_);
  if (!status_.ok()) return status_;
  return std::span<const SampledToken>(awaited_);
}

void FakeModelRunner::Run(Step& step) {
  if (std::exchange(step.has_run, true)) return;
  batch_ = step.batch;
  results_.clear();
  next_row_ = 0;
  ResolveTokens();
  CheckShape();
  CheckOwnership();
  if (!violation_.empty()) return;
  CopyPages();
  for (size_t i = 0; i < batch_->context_lens.size(); ++i) RunSequence(static_cast<int>(i));
  Expect(next_row_ == batch_->logit_rows.size(), "a logit row names no row of the step, or comes out of order");
  chosen_.clear();
  for (const SampledToken& sampled : results_) chosen_.push_back(sampled.token);
  step.results = std::move(results_);
}

void FakeModelRunner::Spoil(const Batch& batch) {
  for (const PageCopy& copy : batch.page_copies) {
    std::fill_n(slots_.begin() + copy.destination * block_size_, block_size_, Slot{-1, kGarbage});
  }
  WriteGarbage(batch, 0, batch.token_ids.size());
}

void FakeModelRunner::ResolveTokens() {
  token_ids_ = batch_->token_ids;
  for (TokenId& token : token_ids_) {
    if (token >= 0) continue;
    const auto row = static_cast<size_t>(~token);
    Expect(row < chosen_.size(), "a token is that of a row that the step before did not have");
    token = row < chosen_.size() ? chosen_[row] : 0;
  }
}

absl::StatusOr<std::unique_ptr<HostPages>> FakeModelRunner::AllocateHostPages(int num_pages) {
  return std::make_unique<FakeHostPages>(num_pages, page_bytes());
}

// Its slots, and whose it is.
int64_t FakeModelRunner::page_bytes() const {
  return static_cast<int64_t>(sizeof(Slot)) * block_size_ + static_cast<int64_t>(sizeof(int));
}

absl::StatusOr<uint64_t> FakeModelRunner::StartToHost(std::span<const PageTransfer> pages, HostPages& host) {
  ++num_transfers_;
  for (const PageTransfer& page : pages) {
    transfers_.push_back({page, host.page(page.host_page).data(), true, num_transfers_});
  }
  return num_transfers_;
}

absl::StatusOr<uint64_t> FakeModelRunner::StartFromHost(std::span<const PageTransfer> pages, const HostPages& host) {
  for (Step& step : steps_) Run(step);
  ++num_transfers_;
  for (const PageTransfer& page : pages) {
    transfers_.push_back({page, host.page(page.host_page).data(), false, num_transfers_});
    std::fill_n(slots_.begin() + page.page * block_size_, block_size_, Slot{-1, kGarbage});
  }
  return num_transfers_;
}

absl::StatusOr<uint64_t> FakeModelRunner::TransfersDone(uint64_t wait_for) {
  const bool all = wait_for == 0 && ++num_polls_ % transfer_period_ == 0;
  const auto first_left = std::ranges::find_if(
      transfers_, [&](const Transfer& transfer) { return !all && transfer.number > wait_for; });
  std::for_each(transfers_.begin(), first_left, [this](const Transfer& transfer) { Perform(transfer); });
  transfers_.erase(transfers_.begin(), first_left);
  return transfers_.empty() ? num_transfers_ : transfers_.front().number - 1;
}

void FakeModelRunner::Perform(const Transfer& transfer) {
  const auto slots = slots_.begin() + transfer.page.page * block_size_;
  const size_t slot_bytes = sizeof(Slot) * block_size_;
  int& tenant = tenants_[transfer.page.page];
  if (transfer.to_host) {
    std::memcpy(transfer.host, &*slots, slot_bytes);
    std::memcpy(transfer.host + slot_bytes, &tenant, sizeof(tenant));
  } else {
    std::memcpy(&*slots, transfer.host, slot_bytes);
    std::memcpy(&tenant, transfer.host + slot_bytes, sizeof(tenant));
  }
}

void FakeModelRunner::Expect(bool condition, const char* what) {
  if (!condition && violation_.empty()) violation_ = absl::StrCat("step ", num_steps_, ": ", what);
}

// Everything that the arrays promise one another.
void FakeModelRunner::CheckShape() {
  const Batch& batch = *batch_;
  const size_t num_sequences = batch.context_lens.size();
  Expect(num_sequences > 0, "the batch is empty");
  Expect(batch.positions.size() == batch.token_ids.size() && batch.slot_mapping.size() == batch.token_ids.size() &&
             batch.rotary_positions.size() == batch.token_ids.size(),
         "token arrays differ in length");
  Expect(batch.query_start.size() == num_sequences + 1 && batch.block_indptr.size() == num_sequences + 1,
         "sequence arrays differ in length");
  if (!violation_.empty()) return;
  Expect(batch.query_start.front() == 0 && batch.query_start.back() == batch.num_tokens(), "query_start misses tokens");
  for (size_t i = 0; i < num_sequences && violation_.empty(); ++i) {
    const int num_pages = batch.block_indptr[i + 1] - batch.block_indptr[i];
    const int num_tokens = batch.query_start[i + 1] - batch.query_start[i];
    Expect(num_tokens > 0, "a sequence has no tokens in the step");
    Expect(num_pages == (batch.context_lens[i] + block_size_ - 1) / block_size_,
           "wrong number of pages for the context");
    for (int t = 0; t < num_tokens && violation_.empty(); ++t) {
      const int token = batch.query_start[i] + t;
      const int position = batch.context_lens[i] - num_tokens + t;
      Expect(batch.positions[token] == position, "a token is not at its position");
      Expect(batch.rotary_positions[token] - position ==
                 batch.rotary_positions[batch.query_start[i]] - batch.positions[batch.query_start[i]],
             "the tokens of a sequence are not rotated for successive positions");
      const int page = batch.block_indices[batch.block_indptr[i] + position / block_size_];
      Expect(batch.slot_mapping[token] == page * block_size_ + position % block_size_,
             "a slot is not in the block table");
    }
  }
}

// A page that the step writes to, by a token or by a copy, is in one sequence's table only.
void FakeModelRunner::CheckOwnership() {
  std::vector<int> holders(tenants_.size()), written(slots_.size());
  for (size_t i = 0; i < batch_->context_lens.size(); ++i) {
    if (IsRefreshed(i)) continue;  // Its pages are the next one's.
    for (int j = batch_->block_indptr[i]; j < batch_->block_indptr[i + 1]; ++j) ++holders[batch_->block_indices[j]];
  }
  for (int32_t slot : batch_->slot_mapping) {
    Expect(++written[slot] == 1, "a slot is written twice");
    Expect(holders[slot / block_size_] == 1, "a page is written while another sequence holds it");
  }
  for (const PageCopy& copy : batch_->page_copies) {
    Expect(copy.source != copy.destination, "a page is copied onto itself");
    Expect(copy.num_tokens > 0 && copy.num_tokens <= block_size_, "a copy has no tokens or more than a page");
    Expect(holders[copy.destination] <= 1, "a page is copied to while two sequences hold it");
  }
}

// Whether these are sinks that are computed anew, for the sequence that comes next.
bool FakeModelRunner::IsRefreshed(size_t sequence) const {
  const int first = batch_->query_start[sequence];
  return model_.window().sink_tokens > 0 && batch_->positions[first] == 0 && batch_->rotary_positions[first] > 0;
}

void FakeModelRunner::CopyPages() {
  for (const PageCopy& copy : batch_->page_copies) {
    const auto source = slots_.begin() + copy.source * block_size_;
    const auto destination = slots_.begin() + copy.destination * block_size_;
    std::copy_n(source, copy.num_tokens, destination);
    std::fill_n(destination + copy.num_tokens, block_size_ - copy.num_tokens, Slot{-1, kGarbage});
    tenants_[copy.destination] = tenants_[copy.source];
  }
}

void FakeModelRunner::WriteGarbage(const Batch& batch, size_t first_token, size_t last_token) {
  for (size_t i = first_token; i < last_token; ++i) {
    Slot& slot = slots_[batch.slot_mapping[i]];
    slot = {-1, kGarbage, slot.rotary_position};  // What goes on with it is read by nobody, but goes on.
  }
}

void FakeModelRunner::RunSequence(int sequence) {
  const Batch& batch = *batch_;
  const int first = batch.query_start[sequence], last = batch.query_start[sequence + 1];
  const int first_page = batch.block_indptr[sequence];
  const auto pages = std::span(batch.block_indices).subspan(first_page, batch.block_indptr[sequence + 1] - first_page);
  const int gap = batch.rotary_positions[first] - batch.positions[first];
  std::vector<TokenId> read_back;
  uint64_t attended = 0, previous = 0;
  bool poisoned = false;
  for (int position = 0; position < batch.context_lens[sequence]; ++position) {
    const BlockId page = pages[position / block_size_];
    Slot& slot = slots_[page * block_size_ + position % block_size_];
    const int token = first + position - batch.positions[first];
    if (token >= first) {
      slot = {token_ids_[token], FakeModel::Extend(previous, token_ids_[token]), batch.rotary_positions[token]};
      if (position % block_size_ == 0) tenants_[page] = kUnknownTenant;
    }
    Expect(slot.rotary_position == position + gap, "a token was rotated for another position");
    previous = slot.cached;
    attended = FakeModel::Attend(attended, slot.cached);
    read_back.push_back(slot.token);
    for (; next_row_ < batch.logit_rows.size() && batch.logit_rows[next_row_].row == token; ++next_row_) {
      const LogitRow& row = batch.logit_rows[next_row_];
      Answer(row, attended, read_back);
      if (!violation_.empty()) return;
      CheckTenant(row, pages.first(position / block_size_ + 1));
      poisoned |= !results_.back().status.ok();
    }
  }
  if (poisoned) WriteGarbage(batch, first, last);
}

void FakeModelRunner::Answer(const LogitRow& row, uint64_t attended, std::span<const TokenId> read_back) {
  const bool ahead = row.tokens.empty();
  const auto num_dropped = row.position - std::ssize(read_back);
  Expect((ahead || row.position == std::ssize(row.tokens)) && num_dropped >= 0, "a logit row has the wrong position");
  if (!violation_.empty()) return;
  const size_t num_kept = num_dropped == 0 ? 0 : model_.window().sink_tokens;
  Expect(num_dropped == 0 || num_dropped == model_.window().NumDropped(row.position - 1), "the wrong pages were dropped");
  Expect(ahead || (std::ranges::equal(row.tokens.first(num_kept), read_back.first(num_kept)) &&
                   std::ranges::equal(row.tokens.subspan(num_kept + num_dropped), read_back.subspan(num_kept))),
         "the pages of a sequence do not hold its tokens");
  SampledToken& sampled = results_.emplace_back();
  if (poisoned_ && poisoned_(row)) sampled.status = absl::InternalError("planned");
  if (row.embed) {
    sampled.embedding = FakeModel::Embedding(attended);
    return;
  }
  mask_.clear();
  if (row.constraint != nullptr) {
    mask_.resize((model_.vocab_size() + 31) / 32);
    sampled.status.Update(row.constraint->FillMask(mask_));
  }
  sampled.token =
      row.score >= 0 ? row.score : model_.Next(attended, row.seed, row.position, *row.params, row.forbid_stop, mask_);
  sampled.logprob = FakeModel::Logprob(attended, sampled.token);
  const int wanted = row.score >= 0 ? row.params->prompt_logprobs : row.params->logprobs;
  if (wanted > 0) sampled.top.assign(1, {sampled.token, sampled.logprob});
}

void FakeModelRunner::CheckTenant(const LogitRow& row, std::span<const BlockId> pages) {
  if (!tenant_of_) return;
  const int tenant = tenant_of_(*row.params);
  for (BlockId page : pages) {
    Expect(tenants_[page] == kUnknownTenant || tenants_[page] == tenant, "a page is read by two tenants");
    tenants_[page] = tenant;
  }
}

}  // namespace quire
