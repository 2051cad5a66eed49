// A model whose next token is a hash of everything it reads back from its pages. A page that is wrong, stale, foreign,
// written twice or shared too far changes the output, while what the output should be is a short calculation.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "engine/runner/model_runner.h"
#include "engine/sampling/token_constraint.h"
#include "engine/scheduler/kv_window.h"

namespace quire {

// The arithmetic of the fake, without pages.
class FakeModel {
 public:
  explicit FakeModel(int vocab_size, std::vector<TokenId> eos_token_ids = {}, const KvWindow& window = {})
      : vocab_size_(vocab_size), eos_token_ids_(std::move(eos_token_ids)), window_(window) {}

  int vocab_size() const { return vocab_size_; }
  const KvWindow& window() const { return window_; }

  // What a page holds for a token: like keys and values it depends on all tokens up to it.
  static uint64_t Extend(uint64_t previous, TokenId token);
  // What attention over a context gives, one position after another.
  static uint64_t Attend(uint64_t attended, uint64_t cached);

  // `allowed`: a bit for each token, or none where all are. A stop token may be chosen where nothing else is allowed.
  TokenId Next(uint64_t attended, uint64_t seed, int position, const SamplingParams& params, bool forbid_stop,
               std::span<const uint32_t> allowed = {}) const;
  static float Logprob(uint64_t attended, TokenId token);

  // The whole output of one sample of a request that is served alone, its end-of-sequence or stop token included.
  // `constraint` may be null. REQUIRES: params.max_tokens > 0.
  std::vector<TokenId> Generate(std::span<const TokenId> prompt, const SamplingParams& params, int index,
                                const TokenConstraint* constraint = nullptr) const;
  // What a request for an embedding gets.
  static std::vector<float> Embedding(uint64_t attended);
  std::vector<float> Embed(std::span<const TokenId> prompt) const;
  // Log-probabilities of prompt tokens 1, 2, ...
  std::vector<float> ScorePrompt(std::span<const TokenId> prompt) const;

 private:
  TokenId NextAllowed(uint64_t draw, const SamplingParams& params, bool forbid_stop,
                      std::span<const uint32_t> allowed) const;
  bool IsStop(TokenId token, const SamplingParams& params) const;
  bool IsEos(TokenId token) const;

  int vocab_size_;
  std::vector<TokenId> eos_token_ids_;
  KvWindow window_;
};

class FakeModelRunner : public ModelRunner {
 public:
  FakeModelRunner(const FakeModel& model, int num_blocks, int block_size);

  int max_steps_under_way() const override { return 2; }
  void Launch(const Batch& batch, const GivesWay& gives_way) override;
  absl::StatusOr<std::span<const SampledToken>> Await() override;
  // Steps run as late as may be, when they are awaited; or, with this, as early, and may then be given up.
  void RunAtLaunch() { runs_at_launch_ = true; }

  // Transfers are done as late as may be: those out when they are awaited, and those in when they are said to be done.
  absl::StatusOr<std::unique_ptr<HostPages>> AllocateHostPages(int num_pages) override;
  absl::StatusOr<uint64_t> StartToHost(std::span<const PageTransfer> pages, HostPages& host) override;
  absl::StatusOr<uint64_t> StartFromHost(std::span<const PageTransfer> pages, const HostPages& host) override;
  absl::StatusOr<uint64_t> TransfersDone(uint64_t wait_for = 0) override;
  // Bytes of a page of AllocateHostPages.
  int64_t page_bytes() const;
  // Of every `period` questions that wait for nothing one finds the transfers done.
  void SlowTransfersDown(int period) { transfer_period_ = period; }

  // The next step fails with this status, and leaves garbage wherever it was to write.
  void FailNextStep(absl::Status status) { next_failure_ = std::move(status); }
  // Rows for which this is true have logits that are not finite; what their sequences wrote in the step is garbage.
  void PoisonRows(std::function<bool(const LogitRow&)> poisoned) { poisoned_ = std::move(poisoned); }
  // Says whose a request is: then a page read by two tenants is a violation.
  void TellTenantsApart(std::function<int(const SamplingParams&)> tenant_of) { tenant_of_ = std::move(tenant_of); }

  // The first thing wrong with a batch: a slot written twice, a written page that another sequence holds, and so on.
  // Empty if all was well.
  const std::string& violation() const { return violation_; }
  int num_steps() const { return num_steps_; }

 private:
  static constexpr int kUnknownTenant = -1;

  struct Slot {
    TokenId token = -1;
    uint64_t cached = 0;
    int rotary_position = -1;
  };

  struct Transfer {
    PageTransfer page;
    std::byte* host = nullptr;
    bool to_host = false;
    uint64_t number = 0;
  };

  // Launched and not awaited.
  struct Step {
    const Batch* batch = nullptr;
    bool has_run = false;
    bool given_up = false;
    std::vector<SampledToken> results;
  };

  void Expect(bool condition, const char* what);
  void Run(Step& step);
  void GiveUp(Step& step);
  void Spoil(const Batch& batch);
  void ResolveTokens();
  void Perform(const Transfer& transfer);
  void CheckShape();
  void CheckOwnership();
  bool IsRefreshed(size_t sequence) const;
  void CopyPages();
  void WriteGarbage(const Batch& batch, size_t first_token, size_t last_token);
  void RunSequence(int sequence);
  void Answer(const LogitRow& row, uint64_t attended, std::span<const TokenId> read_back);
  void CheckTenant(const LogitRow& row, std::span<const BlockId> pages);

  const FakeModel model_;
  const int block_size_;
  std::vector<Slot> slots_;
  std::vector<int> tenants_;  // Of each page's reader, as far as known.
  std::deque<Step> steps_;  // The oldest first.
  bool runs_at_launch_ = false;
  std::vector<SampledToken> awaited_;  // Of the step awaited last.
  absl::Status status_;                // What it ended with.
  std::vector<TokenId> chosen_;        // Of the step that ran last, row by row.
  // Of the step that runs.
  const Batch* batch_ = nullptr;
  std::vector<TokenId> token_ids_;  // All known.
  size_t next_row_ = 0;
  std::vector<SampledToken> results_;
  std::vector<uint32_t> mask_;
  std::vector<Transfer> transfers_;  // Not done yet.
  uint64_t num_transfers_ = 0;
  int transfer_period_ = 1;
  int num_polls_ = 0;
  absl::Status next_failure_;
  std::function<bool(const LogitRow&)> poisoned_;
  std::function<int(const SamplingParams&)> tenant_of_;
  std::string violation_;
  int num_steps_ = 0;
};

}  // namespace quire
