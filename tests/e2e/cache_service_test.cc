// quire.v1.CacheService and `quire cache` on the real server: what is cached is told, kept and given up as asked.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "quire/v1/cache.grpc.pb.h"
#include "tests/e2e/server_process.h"

namespace quire {
namespace {

using ::testing::HasSubstr;

// A pool of some sixty pages, of which a sequence takes sixteen at most.
const std::vector<std::string> kSmallPool = {"--kv-cache-memory", "48MiB", "--max-model-len", "512", "--max-num-seqs", "8"};

// About 300 tokens that begin unlike those of another number.
std::string Story(int number) {
  std::string text = "Story number " + std::to_string(number) + ".";
  for (int i = 0; i < 30; ++i) text += " There was a small house by the sea.";
  return text;
}

class CacheServiceTest : public ::testing::Test {
 protected:
  CacheServiceTest() : server_(kSmallPool), stub_(v1::CacheService::NewStub(server_.NewChannel())) {}

  // A call that must succeed.
  template <typename Request, typename Response>
  Response Call(grpc::Status (v1::CacheService::Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                const Request& request) {
    grpc::ClientContext context;
    Response response;
    const grpc::Status status = (stub_.get()->*method)(&context, request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response;
  }
  template <typename Request, typename Response>
  grpc::Status Fail(grpc::Status (v1::CacheService::Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                    const Request& request) {
    grpc::ClientContext context;
    Response response;
    return (stub_.get()->*method)(&context, request, &response);
  }

  v1::ProbeResponse Probe(const std::string& text) {
    v1::ProbeRequest request;
    request.mutable_prompt()->set_text(text);
    return Call(&v1::CacheService::Stub::Probe, request);
  }
  v1::PinRequest PinRequest(const std::string& text, v1::LeaseKind kind, bool compute) {
    v1::PinRequest request;
    request.mutable_prompt()->set_text(text);
    request.set_kind(kind);
    request.set_compute(compute);
    return request;
  }
  void FillThePool() {
    for (int i = 100; i < 108; ++i) {
      EXPECT_TRUE(Generate(server_.inference(), GreedyRequest(Story(i), 1)).status.ok());
    }
  }

  ServerProcess server_;
  std::unique_ptr<v1::CacheService::Stub> stub_;
};

TEST_F(CacheServiceTest, AProbeTellsWhatARequestThenFinds) {
  EXPECT_EQ(Probe(Story(1)).cached_tokens(), 0);
  EXPECT_TRUE(Generate(server_.inference(), GreedyRequest(Story(1), 4)).status.ok());
  const v1::ProbeResponse probe = Probe(Story(1) + " And then?");
  EXPECT_GT(probe.cached_tokens(), 200);
  ASSERT_EQ(probe.tiers_size(), 1);
  EXPECT_EQ(probe.tiers(0).tier(), "pool");
  const Completion completion = Generate(server_.inference(), GreedyRequest(Story(1) + " And then?", 1));
  EXPECT_EQ(completion.usage.cached_tokens(), probe.cached_tokens());
  EXPECT_EQ(completion.usage.prompt_tokens(), probe.prompt_tokens());
}

TEST_F(CacheServiceTest, WhatIsPinnedStaysAndWhatIsNotGoes) {
  EXPECT_TRUE(Generate(server_.inference(), GreedyRequest(Story(1), 1)).status.ok());
  const v1::Lease lease =
      Call(&v1::CacheService::Stub::Pin, PinRequest(Story(2), v1::LEASE_KIND_PINNED, /*compute=*/true)).lease();
  EXPECT_EQ(lease.kind(), v1::LEASE_KIND_PINNED);
  EXPECT_EQ(lease.tokens(), Probe(Story(2)).prompt_tokens());
  EXPECT_EQ(server_.Stats().kv_pages_pinned(), lease.pages());
  FillThePool();
  EXPECT_LT(Probe(Story(1)).cached_tokens(), 32);
  EXPECT_EQ(Probe(Story(2)).cached_tokens(), lease.tokens() - 1);

  const v1::ListCacheResponse list = Call(&v1::CacheService::Stub::List, v1::ListCacheRequest());
  ASSERT_EQ(list.leases_size(), 1);
  EXPECT_EQ(list.leases(0).id(), lease.id());
  EXPECT_GT(list.prefixes_size(), 0);
  v1::UnpinRequest unpin;
  unpin.set_lease_id(lease.id());
  Call(&v1::CacheService::Stub::Unpin, unpin);
  EXPECT_EQ(Fail(&v1::CacheService::Stub::Unpin, unpin).error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(server_.Stats().leases(), 0);
  EXPECT_EQ(server_.WaitUntilIdle().kv_pages_used(), 0);
}

TEST_F(CacheServiceTest, NotMoreIsPinnedThanMayBe) {
  grpc::Status status;
  int pinned = 0;
  for (int i = 0; i < 8 && status.ok(); ++i) {
    status = Fail(&v1::CacheService::Stub::Pin, PinRequest(Story(i), v1::LEASE_KIND_PINNED, /*compute=*/true));
    pinned += status.ok();
  }
  EXPECT_GT(pinned, 0);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(status.error_message(), HasSubstr("may hold"));
  const v1::Stats stats = server_.Stats();
  EXPECT_LE(2 * stats.kv_pages_pinned(), stats.kv_pages_total());
  v1::PinRequest instead = PinRequest(Story(20), v1::LEASE_KIND_PINNED, /*compute=*/true);
  instead.set_or_preferred(true);
  EXPECT_EQ(Call(&v1::CacheService::Stub::Pin, instead).lease().kind(), v1::LEASE_KIND_PREFERRED);
  FillThePool();
}

TEST_F(CacheServiceTest, EvictionsTakeWhatNobodyLeases) {
  EXPECT_TRUE(Generate(server_.inference(), GreedyRequest(Story(1), 1)).status.ok());
  Call(&v1::CacheService::Stub::Pin, PinRequest(Story(2), v1::LEASE_KIND_PREFERRED, /*compute=*/true));
  v1::EvictRequest request;
  request.mutable_prefix()->set_text(Story(1));
  EXPECT_GT(Call(&v1::CacheService::Stub::Evict, request).evicted_pages(), 5);
  EXPECT_LT(Probe(Story(1)).cached_tokens(), 32);
  request.set_own(true);
  Call(&v1::CacheService::Stub::Evict, request);
  EXPECT_GT(Probe(Story(2)).cached_tokens(), 200);
}

TEST_F(CacheServiceTest, ErrorsNameTheField) {
  const grpc::Status status = Fail(&v1::CacheService::Stub::Probe, v1::ProbeRequest());
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  google::rpc::Status details;
  ASSERT_TRUE(details.ParseFromString(status.error_details()));
  google::rpc::BadRequest violation;
  bool found = false;
  for (const auto& detail : details.details()) found |= detail.UnpackTo(&violation);
  ASSERT_TRUE(found);
  EXPECT_EQ(violation.field_violations(0).field(), "prompt");

  v1::ProbeRequest request;
  request.mutable_prompt()->mutable_chat()->add_messages();
  EXPECT_THAT(Fail(&v1::CacheService::Stub::Probe, request).error_message(),
              HasSubstr("prompt.chat.messages[0].role must be set"));
  v1::PinRequest pin = PinRequest("x", v1::LEASE_KIND_PINNED, false);
  pin.mutable_ttl()->set_seconds(100'000);
  EXPECT_THAT(Fail(&v1::CacheService::Stub::Pin, pin).error_message(), HasSubstr("ttl must be"));
  EXPECT_EQ(Fail(&v1::CacheService::Stub::Pin, PinRequest("never seen", v1::LEASE_KIND_PINNED, false)).error_code(),
            grpc::StatusCode::NOT_FOUND);
}

TEST_F(CacheServiceTest, SubscribersSeeWhatThereIsAndWhatComes) {
  EXPECT_TRUE(Generate(server_.inference(), GreedyRequest(Story(1), 1)).status.ok());
  grpc::ClientContext context;
  const auto stream = stub_->Subscribe(&context, {});
  v1::PageEvents message;
  ASSERT_TRUE(stream->Read(&message));
  EXPECT_TRUE(message.has_snapshot());
  EXPECT_GT(message.events_size(), 5);
  const uint64_t sequence = message.sequence();
  EXPECT_TRUE(Generate(server_.inference(), GreedyRequest(Story(2), 1)).status.ok());
  ASSERT_TRUE(stream->Read(&message));
  EXPECT_EQ(message.sequence(), sequence + 1);
  EXPECT_TRUE(message.events(0).has_stored());
  context.TryCancel();
  stream->Finish();
}

TEST_F(CacheServiceTest, TheCommandLineListsAndExplains) {
  const auto cache = [this](std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "cache");
    arguments.insert(arguments.end(), {"--target", server_.target()});
    return RunQuire(arguments);
  };
  EXPECT_THAT(cache({"list"}).output, HasSubstr("nothing is cached"));
  const ProgramResult pinned = cache({"pin", Story(1), "--pinned", "--compute"});
  EXPECT_EQ(pinned.exit_code, 0) << pinned.output;
  EXPECT_THAT(pinned.output, HasSubstr("pinned"));
  EXPECT_THAT(cache({"probe", Story(1)}).output, HasSubstr("tokens would be found\n  pool: "));
  const ProgramResult list = cache({"list"});
  EXPECT_THAT(list.output, HasSubstr("lease 1: pinned"));
  EXPECT_THAT(list.output, HasSubstr("Story number 1"));
  EXPECT_THAT(cache({"evict", "--own"}).output, HasSubstr("0 pages evicted"));
  EXPECT_EQ(cache({"unpin", "1"}).exit_code, 0);
  const ProgramResult again = cache({"unpin", "1"});
  EXPECT_EQ(again.exit_code, 1);
  EXPECT_THAT(again.output, HasSubstr("no lease 1"));
  EXPECT_THAT(cache({"evict", "--own"}).output, ::testing::Not(::testing::StartsWith("0 ")));
}

}  // namespace
}  // namespace quire
