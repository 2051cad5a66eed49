#include "server/bench/load/load_generator.h"

#include <algorithm>
#include <deque>
#include <memory>
#include <utility>

#include "kernels/check.h"

namespace quire {
namespace {

using Seconds = std::chrono::duration<double>;

// How long the generator waits at most when only the server can make something happen.
constexpr double kIdlePollSeconds = 1.0;

class LoadGenerator {
 public:
  LoadGenerator(const Workload& workload, const PacingOptions& pacing, const PromptWriter& writer, Transport& transport,
                const std::function<void(float)>& progress)
      : workload_(workload),
        pacing_(pacing),
        writer_(writer),
        transport_(transport),
        progress_(progress),
        start_(transport.Now()),
        free_slots_(pacing.max_concurrency, 0.0) {}

  LoadRun Run() {
    run_.records.reserve(workload_.num_requests());
    while (in_progress_ > 0 || next_conversation_ < workload_.conversations.size()) {
      BeginConversations();
      SendDueTurns();
      transport_.Poll(start_ + std::chrono::duration_cast<LoadClock::duration>(Seconds(NextDue())));
    }
    for (const LoadRecord& record : run_.records) run_.duration_s = std::max(run_.duration_s, record.end_s);
    std::sort(run_.records.begin(), run_.records.end(),
              [](const LoadRecord& a, const LoadRecord& b) { return a.sent_s < b.sent_s; });
    return std::move(run_);
  }

 private:
  class Client;
  struct DueTurn {
    double intended_s;
    std::unique_ptr<Client> client;
  };

  double Now() const { return Seconds(transport_.Now() - start_).count(); }
  bool closed_loop() const { return pacing_.start_s.empty(); }
  bool HasSlot() const { return pacing_.max_concurrency == 0 || !free_slots_.empty(); }

  void BeginConversations();
  void SendDueTurns();
  double NextDue() const;
  void OnTurnDone(std::unique_ptr<Client> client);

  const Workload& workload_;
  const PacingOptions& pacing_;
  const PromptWriter& writer_;
  Transport& transport_;
  const std::function<void(float)>& progress_;
  const LoadClock::time_point start_;
  LoadRun run_;
  size_t next_conversation_ = 0;
  int in_progress_ = 0;            // Conversations.
  std::deque<double> free_slots_;  // Since when; with a limit of concurrency only.
  std::deque<DueTurn> due_turns_;  // Ascending, since every turn is thought about for as long.
  int requests_done_ = 0;
};

// Whoever has one conversation. Owned by `due_turns_` between turns, and by itself while a stream is open.
class LoadGenerator::Client : public StreamObserver {
 public:
  Client(LoadGenerator& generator, const LoadConversation& conversation)
      : generator_(generator), conversation_(conversation) {}

  int turns_left() const { return static_cast<int>(conversation_.turns.size() - next_turn_); }
  const LoadRecord& record() const { return record_; }

  // Sends the next turn; being held up until `allowed_s` is not the generator's fault.
  static void Send(std::unique_ptr<Client> self, double intended_s, double allowed_s) {
    const LoadTurn& turn = self->conversation_.turns[self->next_turn_++];
    self->request_.passages.push_back(self->generator_.writer_.Write(turn.prompt));
    self->request_.max_tokens = turn.output_tokens;
    self->answer_ = {};
    self->record_ = {};
    self->record_.intended_s = intended_s;
    self->record_.sent_s = self->generator_.Now();
    self->record_.lag_s = std::max(0.0, self->record_.sent_s - std::max(intended_s, allowed_s));
    Client* const client = self.release();
    client->generator_.transport_.Start(client->request_, client);
  }

  void OnTokens(int count, const Passage& delta) override {
    record_.message_s.push_back(generator_.Now());
    record_.output_tokens += count;
    if (turns_left() == 0) return;
    answer_.text += delta.text;
    answer_.token_ids.insert(answer_.token_ids.end(), delta.token_ids.begin(), delta.token_ids.end());
  }

  void OnDone(const StreamEnd& end) override {
    record_.end_s = generator_.Now();
    record_.usage = end.usage;
    if (end.usage.completion_tokens > 0) record_.output_tokens = end.usage.completion_tokens;
    record_.error_kind = end.error_kind;
    record_.error_message = end.error_message;
    if (record_.error_kind.empty() && record_.message_s.empty()) {
      record_.error_kind = "no tokens";
      record_.error_message = "the stream ended well, but without a token";
    }
    request_.passages.push_back(std::move(answer_));
    generator_.OnTurnDone(std::unique_ptr<Client>(this));
  }

 private:
  LoadGenerator& generator_;
  const LoadConversation& conversation_;
  size_t next_turn_ = 0;
  LoadRequest request_;
  Passage answer_;
  LoadRecord record_;
};

void LoadGenerator::BeginConversations() {
  while (next_conversation_ < workload_.conversations.size() && HasSlot()) {
    const double allowed = free_slots_.empty() ? 0 : free_slots_.front();
    const double intended = closed_loop() ? allowed : pacing_.start_s[next_conversation_];
    if (intended > Now()) break;
    if (!free_slots_.empty()) free_slots_.pop_front();
    ++in_progress_;
    auto client = std::make_unique<Client>(*this, workload_.conversations[next_conversation_++]);
    Client::Send(std::move(client), intended, allowed);
  }
}

void LoadGenerator::SendDueTurns() {
  while (!due_turns_.empty() && due_turns_.front().intended_s <= Now()) {
    DueTurn turn = std::move(due_turns_.front());
    due_turns_.pop_front();
    Client::Send(std::move(turn.client), turn.intended_s, turn.intended_s);
  }
}

double LoadGenerator::NextDue() const {
  double due = Now() + kIdlePollSeconds;
  if (!due_turns_.empty()) due = std::min(due, due_turns_.front().intended_s);
  if (next_conversation_ < workload_.conversations.size() && HasSlot()) {
    due = std::min(due, closed_loop() ? free_slots_.front() : pacing_.start_s[next_conversation_]);
  }
  return due;
}

void LoadGenerator::OnTurnDone(std::unique_ptr<Client> client) {
  const LoadRecord& record = client->record();
  run_.records.push_back(record);
  ++requests_done_;
  if (record.error_kind.empty() && client->turns_left() > 0) {
    const double intended = record.end_s + pacing_.think_s;
    due_turns_.push_back({intended, std::move(client)});
    return;
  }
  run_.skipped += client->turns_left();
  requests_done_ += client->turns_left();
  --in_progress_;
  if (pacing_.max_concurrency > 0) free_slots_.push_back(record.end_s);
  if (progress_) progress_(static_cast<float>(requests_done_) / static_cast<float>(workload_.num_requests()));
}

}  // namespace

LoadRun RunLoad(const Workload& workload, const PacingOptions& pacing, const PromptWriter& writer, Transport& transport,
                const std::function<void(float)>& progress) {
  QUIRE_CHECK(pacing.start_s.empty() ? pacing.max_concurrency > 0
                                     : pacing.start_s.size() == workload.conversations.size());
  return LoadGenerator(workload, pacing, writer, transport, progress).Run();
}

}  // namespace quire
