#include "tests/sim/stream_checker.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace quire {
namespace {

bool Satisfies(const std::vector<TokenId>& output, const TokenConstraint& constraint) {
  const std::unique_ptr<TokenConstraint> state = constraint.Clone();
  return std::ranges::all_of(output, [&](TokenId token) { return state->Accept(token).ok(); });
}

}  // namespace

void StreamChecker::Check(bool condition, RequestId id, const std::string& what) {
  if (!condition && failure_.empty()) failure_ = absl::StrCat("request ", id, ": ", what);
}

void StreamChecker::Expect(const GenerateRequest& request) {
  Request& expected = requests_[request.id];
  expected.request = request;
  SamplingParams& sampling = expected.request.sampling;
  live_.push_back(request.id);
  if (request.embed) {
    expected.samples.emplace_back();
    return;
  }
  if (sampling.max_tokens == 0) {
    sampling.max_tokens = config_.LongestSequence() - static_cast<int>(request.prompt.size());
  }
  for (int index = 0; index < sampling.n; ++index) {
    Sample& sample = expected.samples.emplace_back();
    sample.expected = model_.Generate(request.prompt, sampling, index, request.constraint.get());
    std::vector<TokenId> tokens = request.prompt;
    tokens.insert(tokens.end(), sample.expected.begin(), sample.expected.end());
    sample.scores = model_.ScorePrompt(tokens);
    sample.scores.erase(sample.scores.begin(), sample.scores.begin() + static_cast<int>(request.prompt.size()) - 1);
  }
}

std::vector<TokenId> StreamChecker::Conversation(RequestId id, int index) const {
  const Request& request = requests_.at(id);
  const Sample& sample = request.samples[index];
  std::vector<TokenId> tokens = request.request.prompt;
  tokens.insert(tokens.end(), sample.expected.begin(), sample.expected.begin() + static_cast<int>(sample.num_received));
  return tokens;
}

std::vector<int> StreamChecker::OpenSamples(RequestId id) const {
  std::vector<int> open;
  const Request& request = requests_.at(id);
  for (size_t i = 0; i < request.samples.size(); ++i) {
    if (request.samples[i].num_received > 0 && !request.samples[i].finished && !request.samples[i].cut) {
      open.push_back(static_cast<int>(i));
    }
  }
  return open;
}

void StreamChecker::CheckStep(const StepOutput& step, absl::Time now) {
  for (const SequenceOutput& output : step.outputs) CheckOutput(output, now);
  if (step.num_scheduled_tokens > 0) step_failed_ = false;
  std::erase_if(live_, [this](RequestId id) { return requests_.at(id).over; });
}

void StreamChecker::CheckOutput(const SequenceOutput& output, absl::Time now) {
  const auto found = requests_.find(output.request);
  if (found == requests_.end()) return Check(false, output.request, "an output for a request that nobody made");
  Request& request = found->second;
  Check(!request.over, output.request, "an output after the last one");
  const bool is_sample = output.index >= 0 && output.index < static_cast<int>(request.samples.size());
  Check(is_sample, output.request, absl::StrCat("an output for sample ", output.index));
  if (!failure_.empty()) return;
  Sample& sample = request.samples[output.index];
  CheckPromptLogprobs(output, request);
  CheckTokens(output, request, sample);
  CheckFinish(output, request, sample);
  request.has_output = true;
  if (output.last) CheckLast(output, request, now);
}

void StreamChecker::CheckTokens(const SequenceOutput& output, const Request& request, Sample& sample) {
  const bool wanted = request.request.sampling.logprobs >= 0;
  Check(output.logprobs.size() == (wanted ? output.tokens.size() : 0), output.request,
        "wrong number of log-probabilities");
  for (size_t i = 0; i < output.tokens.size() && failure_.empty(); ++i, ++sample.num_received) {
    const bool matches =
        sample.num_received < sample.expected.size() && output.tokens[i] == sample.expected[sample.num_received];
    Check(matches, output.request,
          absl::StrCat("sample ", output.index, ": token ", sample.num_received, " is not that of the isolated run"));
    Check(!sample.finished && !sample.cut, output.request, "a token after the sample's end");
    if (wanted && failure_.empty()) {
      Check(output.logprobs[i].token == output.tokens[i] &&
                output.logprobs[i].logprob == sample.scores[sample.num_received],
            output.request, "a wrong log-probability");
    }
  }
}

void StreamChecker::CheckPromptLogprobs(const SequenceOutput& output, const Request& request) {
  const bool wanted = request.request.sampling.prompt_logprobs >= 0 && !request.has_output && !output.tokens.empty();
  const std::vector<TokenId>& prompt = request.request.prompt;
  Check(output.prompt_logprobs.size() == (wanted ? prompt.size() - 1 : 0), output.request,
        "wrong number of prompt log-probabilities");
  if (!wanted || !failure_.empty()) return;
  const std::vector<float> expected = model_.ScorePrompt(prompt);
  for (size_t i = 0; i < expected.size(); ++i) {
    Check(output.prompt_logprobs[i].token == prompt[i + 1] && output.prompt_logprobs[i].logprob == expected[i],
          output.request, "a wrong prompt log-probability");
  }
}

void StreamChecker::CheckFinish(const SequenceOutput& output, const Request& request, Sample& sample) {
  if (output.finish_reason == FinishReason::kNone) return;
  Check(!sample.finished, output.request, "a sample finishes twice");
  if (request.request.embed) {
    Check(output.embedding == model_.Embed(request.request.prompt), output.request, "a wrong embedding");
  }
  sample.finished = true;
  if (sample.cut)
    return Check(output.finish_reason == FinishReason::kStop, output.request, "FinishSample is not a stop");
  if (request.request.constraint != nullptr) {
    Check(Satisfies(sample.expected, *request.request.constraint), output.request, "tokens that are not allowed");
  }
  Check(sample.num_received == sample.expected.size(), output.request, "a sample is shorter than in the isolated run");
  if (static_cast<int>(sample.expected.size()) < request.request.sampling.max_tokens) {
    Check(output.finish_reason == FinishReason::kStop, output.request, "wrong finish reason");
  }
}

void StreamChecker::CheckLast(const SequenceOutput& output, Request& request, absl::Time now) {
  request.over = true;
  const GenerateRequest& wanted = request.request;
  switch (output.status.code()) {
    case absl::StatusCode::kOk:
      Check(std::all_of(request.samples.begin(), request.samples.end(), [](const Sample& s) { return s.finished; }),
            output.request, "over before all samples finished");
      break;
    case absl::StatusCode::kCancelled:
      Check(request.cancelled, output.request, "cancelled by nobody");
      break;
    case absl::StatusCode::kDeadlineExceeded:
      Check(wanted.deadline < now, output.request, "ended before its deadline");
      break;
    case absl::StatusCode::kInternal:
      Check(request.poisoned, output.request, "INTERNAL without a reason");
      break;
    case absl::StatusCode::kUnavailable:
      Check(step_failed_, output.request, "UNAVAILABLE without a failed step");
      break;
    default:
      Check(false, output.request, absl::StrCat("ended with ", output.status.ToString()));
  }
  int completion_tokens = 0;
  for (const Sample& sample : request.samples) completion_tokens += static_cast<int>(sample.num_received);
  Check(output.usage.prompt_tokens == static_cast<int>(wanted.prompt.size()), output.request, "wrong prompt_tokens");
  Check(output.usage.completion_tokens == completion_tokens, output.request, "wrong completion_tokens");
  Check(output.usage.cached_tokens >= 0 && output.usage.cached_tokens <= MostCachedTokens(wanted), output.request,
        absl::StrCat(output.usage.cached_tokens, " cached tokens, more than its tenant ever had"));
  Check(output.usage.cached_tokens_host + output.usage.cached_tokens_disk <= output.usage.cached_tokens, output.request,
        "more tokens were fetched than cached");
  Check(output.timings.queue >= absl::ZeroDuration() && output.timings.prefill >= absl::ZeroDuration() &&
            output.timings.decode >= absl::ZeroDuration(),
        output.request, "a negative duration");
  num_cached_tokens_ += output.usage.cached_tokens;
}

// The longest prefix that another sequence of the same tenant has.
int StreamChecker::MostCachedTokens(const GenerateRequest& request) const {
  if (!config_.engine.blocks.enable_prefix_caching || config_.engine.recompute_always) return 0;
  if (request.sampling.prompt_logprobs >= 0 && request.prompt.size() > 1) return 0;
  size_t most = 0;
  for (const auto& [id, other] : requests_) {
    if (id == request.id || other.request.cache_salt != request.cache_salt) continue;
    for (size_t i = 0; i < other.samples.size(); ++i) {
      const std::vector<TokenId> tokens = Conversation(id, static_cast<int>(i));
      const auto end = std::mismatch(tokens.begin(), tokens.end(), request.prompt.begin(), request.prompt.end());
      most = std::max<size_t>(most, end.first - tokens.begin());
    }
  }
  return static_cast<int>(std::min(most, request.prompt.size() - 1));
}

}  // namespace quire
