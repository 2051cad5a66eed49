// What the engine refuses and in which order it serves, for the sake of tenants and deadlines.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/engine/engine_harness.h"

namespace quire {
namespace {

using ::testing::HasSubstr;

GenerateRequest Of(uint64_t tenant, GenerateRequest request) {
  request.tenant.id = request.cache_salt = tenant;
  return request;
}

TEST(EngineTenants, BoundsTheTokensThatATenantHasWaiting) {
  EngineHarness harness;
  const auto submit = [&](uint64_t tenant, RequestId id, int length) {
    GenerateRequest request = Of(tenant, Request(id, Prompt(length, static_cast<int>(id)), 2));
    request.tenant.max_queued_tokens = 50;
    return harness.engine.Submit(request, harness.now);
  };
  EXPECT_TRUE(submit(1, 1, 30).ok());
  const absl::Status full = submit(1, 2, 30);
  EXPECT_EQ(full.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(full.message()), HasSubstr("30 tokens wait, of 50 at most (max_queued_tokens)"));
  EXPECT_TRUE(submit(2, 3, 30).ok());
  EXPECT_EQ(submit(2, 4, 51).code(), absl::StatusCode::kInvalidArgument) << "no waiting would help";
}

TEST(EngineTenants, RefusesWhatIsLongerThanATenantsShareOfThePages) {
  EngineHarness harness;
  GenerateRequest request = Of(1, Request(1, Prompt(20), 13));
  request.tenant.max_pages = 8;
  EXPECT_EQ(harness.engine.Submit(request, harness.now).code(), absl::StatusCode::kInvalidArgument);
  request.sampling.max_tokens = 12;
  harness.Submit(request);
  harness.RunToEnd();
  EXPECT_EQ(harness.outcomes[1].samples[0].tokens.size(), 12u);
}

TEST(EngineTenants, ServesUrgentDeadlinesOfATenantFirst) {
  EngineOptions options = SmallEngine();
  options.max_num_seqs = 1;
  EngineHarness harness(options);
  std::vector<RequestId> order;
  for (RequestId id = 1; id <= 3; ++id) {
    GenerateRequest request = Of(1, Request(id, Prompt(4, static_cast<int>(id)), 1));
    if (id < 3) request.deadline = harness.now + absl::Seconds(id == 1 ? 30 : 10);
    harness.Submit(request);
  }
  while (harness.engine.HasWork()) {
    for (const SequenceOutput& output : harness.Step().outputs) order.push_back(output.request);
  }
  EXPECT_THAT(order, ::testing::ElementsAre(2, 1, 3));
}

}  // namespace
}  // namespace quire
