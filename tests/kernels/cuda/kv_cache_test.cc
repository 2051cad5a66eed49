#include "kernels/cuda/kv_cache.h"

#include <gtest/gtest.h>

#include <limits>
#include <memory>

#include "tests/cuda_shim/control.h"

namespace quire {
namespace {

constexpr KvLayout kLayout{.num_layers = 3, .num_kv_heads = 2, .head_dim = 48, .page_size = 32, .num_pages = 5};

TEST(CudaKvCache, TakesThePoolsBytesAndGivesThemBack) {
  if (!cuda_shim::IsEmulated()) GTEST_SKIP() << "only the emulated device tells what is in use";
  const size_t before = cuda_shim::DeviceBytesInUse();
  for (const KvDType dtype : {KvDType::kBF16, KvDType::kInt8, KvDType::kFp8}) {
    KvLayout layout = kLayout;
    layout.value_dtype = dtype;
    const std::unique_ptr<CudaKvCache> cache = CudaKvCache::Create(layout).value();
    EXPECT_EQ(cuda_shim::DeviceBytesInUse() - before, static_cast<size_t>(layout.BytesPerPage() * layout.num_pages));
    EXPECT_EQ(cache->Layer(0).keys.elements, cache->memory());
    EXPECT_EQ(cache->Layer(2).values.scales == nullptr, dtype == KvDType::kBF16);
  }
  EXPECT_EQ(cuda_shim::DeviceBytesInUse(), before);
}

TEST(CudaKvCache, RefusesLayoutsWithoutKernels) {
  const auto error = [](auto change) {
    KvLayout layout = kLayout;
    change(layout);
    return CudaKvCache::Create(layout).status();
  };
  for (const absl::Status& status :
       {error([](KvLayout& l) { l.key_dtype = KvDType::kInt4; }),
        error([](KvLayout& l) { l.value_dtype = KvDType::kInt4; }),
        error([](KvLayout& l) { l.value_dtype = KvDType::kF32; }), error([](KvLayout& l) { l.head_dim = 40; }),
        error([](KvLayout& l) { l.head_dim = 272; }), error([](KvLayout& l) { l.page_size = 8; }),
        error([](KvLayout& l) { l.page_size = 40; }), error([](KvLayout& l) { l.num_pages = 0; }),
        error([](KvLayout& l) { l.num_layers = -1; }), error([](KvLayout& l) { l.num_kv_heads = 0; })}) {
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  }
}

TEST(CudaKvCache, SaysWhenMemoryCannotBeHad) {
  if (!cuda_shim::IsEmulated()) GTEST_SKIP() << "only the emulated device has as little memory as one likes";
  KvLayout layout = kLayout;
  layout.num_layers = layout.num_kv_heads = layout.num_pages = std::numeric_limits<int>::max();
  EXPECT_TRUE(absl::IsResourceExhausted(CudaKvCache::Create(layout).status()));
  cuda_shim::SetDeviceMemory(1 << 16);
  EXPECT_TRUE(absl::IsResourceExhausted(CudaKvCache::Create(kLayout).status()));
  cuda_shim::Reset();
  EXPECT_TRUE(CudaKvCache::Create(kLayout).ok());
}

}  // namespace
}  // namespace quire
