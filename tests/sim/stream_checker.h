// Knows what every request of a simulation should get, and compares it with what it gets, output by output.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "engine/types/generate_request.h"
#include "engine/types/step_output.h"
#include "tests/fakes/fake_model_runner.h"
#include "tests/sim/sim_config.h"
#include "tests/sim/workload.h"

namespace quire {

class StreamChecker {
 public:
  StreamChecker(const SimConfig& config, const FakeModel& model) : config_(config), model_(model) {}

  // The engine took this request.
  void Expect(const GenerateRequest& request);
  // What is about to happen to a live request, so that the end it meets is a rightful one.
  void ExpectCancelled(RequestId id) { requests_.at(id).cancelled = true; }
  void ExpectPoisoned(RequestId id) { requests_.at(id).poisoned = true; }
  void ExpectFinished(RequestId id, int index) { requests_.at(id).samples[index].cut = true; }
  // The next step that computes anything.
  void ExpectStepFailure() { step_failed_ = true; }

  // Compares; the first difference is in failure(). `now` is the time that Step was given.
  void CheckStep(const StepOutput& step, absl::Time now);

  // All requests that are not over.
  const std::vector<RequestId>& live() const { return live_; }
  // Prompt and output so far of one sample.
  std::vector<TokenId> Conversation(RequestId id, int index) const;
  // Samples of a live request that have a token and are not finished.
  std::vector<int> OpenSamples(RequestId id) const;
  int tenant(RequestId id) const { return TenantOf(requests_.at(id).request.sampling); }
  const std::string& failure() const { return failure_; }
  int64_t num_cached_tokens() const { return num_cached_tokens_; }

 private:
  struct Sample {
    std::vector<TokenId> expected;  // What it would get alone.
    std::vector<float> scores;      // The log-probability of each of those.
    size_t num_received = 0;
    bool finished = false;
    bool cut = false;  // FinishSample was called.
  };
  struct Request {
    GenerateRequest request;
    std::vector<Sample> samples;
    bool has_output = false;
    bool over = false;
    bool cancelled = false;
    bool poisoned = false;
  };

  void Check(bool condition, RequestId id, const std::string& what);
  void CheckOutput(const SequenceOutput& output, absl::Time now);
  void CheckTokens(const SequenceOutput& output, const Request& request, Sample& sample);
  void CheckPromptLogprobs(const SequenceOutput& output, const Request& request);
  void CheckFinish(const SequenceOutput& output, const Request& request, Sample& sample);
  void CheckLast(const SequenceOutput& output, Request& request, absl::Time now);
  int MostCachedTokens(const GenerateRequest& request) const;

  const SimConfig& config_;
  const FakeModel& model_;
  std::map<RequestId, Request> requests_;
  std::vector<RequestId> live_;
  bool step_failed_ = false;
  int64_t num_cached_tokens_ = 0;
  std::string failure_;
};

}  // namespace quire
