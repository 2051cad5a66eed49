#include "kernels/cuda/page_transfers.h"

#include <gtest/gtest.h>

#include "kernels/cuda/cuda_ops.h"
#include "tests/cuda_shim/control.h"
#include "tests/kernels/cuda/test_ops.h"
#include "tests/kernels/host_pages_test.h"
#include "tests/kernels/kv_types.h"

namespace quire {
namespace {

using cuda_shim::Call;

constexpr KvLayout kLayout = {
    .num_layers = 3, .num_heads = 2, .num_kv_heads = 2, .head_dim = 48, .page_size = 32, .num_pages = 4};

class CudaPageTransfers : public testing::Test {
 protected:
  CudaPageTransfers() {
    cuda_shim::Reset();
    cuda_shim::SetDeferred(true);  // Nothing is done before somebody waits for it.
  }
  ~CudaPageTransfers() override { cuda_shim::Reset(); }
};

TEST_F(CudaPageTransfers, BringPagesToTheHostAndBack) {
  for (const KvTypes& types : {kBFloat16Kv, kInt8Kv, KvTypes{KvDType::kFp8, KvDType::kBF16}}) {
    SCOPED_TRACE(NameOf(types));
    KvLayout layout = kLayout;
    layout.key_dtype = types.key;
    layout.value_dtype = types.value;
    TestTransfers(*MakeTestOps(), layout);
  }
}

TEST_F(CudaPageTransfers, SayThatHostMemoryCannotBeHad) {
  if (!cuda_shim::IsEmulated()) GTEST_SKIP() << "only the emulated device can be made to fail";
  const auto ops = MakeTestOps();
  cuda_shim::FailNext(Call::kMallocHost, cudaErrorMemoryAllocation);
  EXPECT_TRUE(absl::IsResourceExhausted(ops->AllocateHostPages(kLayout, 2).status()));
}

// A call that fails starts nothing, has no number, and leaves its error to nobody.
TEST_F(CudaPageTransfers, GoOnAfterACallThatFailed) {
  if (!cuda_shim::IsEmulated()) GTEST_SKIP() << "only the emulated device can be made to fail";
  const auto ops = MakeTestOps();
  const auto cache = ops->AllocateKvCache(kLayout).value();
  const auto host = ops->AllocateHostPages(kLayout, 1).value();
  const PageTransfer transfer;
  uint64_t num_started = 0;
  for (const auto& [call, num_calls] : {std::pair(Call::kCopy, 6), {Call::kStream, 4}}) {
    for (int after = 0; after < num_calls; ++after) {
      SCOPED_TRACE(testing::Message() << "call " << static_cast<int>(call) << " after " << after);
      cuda_shim::FailNext(call, cudaErrorInvalidValue, after);
      const auto failed = ops->StartToHost(*cache, {&transfer, 1}, *host);
      if (failed.ok()) {  // An event was at hand, so that there was one call less.
        EXPECT_EQ(*failed, ++num_started);
        cuda_shim::Reset();
        cuda_shim::SetDeferred(true);
      }
      const auto started = ops->StartToHost(*cache, {&transfer, 1}, *host);
      ASSERT_TRUE(started.ok()) << started.status();
      EXPECT_EQ(*started, ++num_started);
      EXPECT_EQ(ops->TransfersDone(*started).value(), num_started);
    }
  }
  EXPECT_TRUE(ops->Synchronize().ok());
}

TEST_F(CudaPageTransfers, SayThatTheDeviceIsLost) {
  if (!cuda_shim::IsEmulated()) GTEST_SKIP() << "only the emulated device can be made to fail";
  const auto ops = MakeTestOps();
  const auto cache = ops->AllocateKvCache(kLayout).value();
  const auto host = ops->AllocateHostPages(kLayout, 1).value();
  const PageTransfer transfer;
  ASSERT_TRUE(ops->StartToHost(*cache, {&transfer, 1}, *host).ok());
  cuda_shim::FailNext(Call::kSynchronize, cudaErrorIllegalAddress);
  EXPECT_TRUE(absl::IsUnavailable(ops->TransfersDone(1).status()));
  EXPECT_TRUE(absl::IsUnavailable(ops->StartToHost(*cache, {&transfer, 1}, *host).status()));
  cuda_shim::Reset();  // A lost device takes no memory back.
}

}  // namespace
}  // namespace quire
