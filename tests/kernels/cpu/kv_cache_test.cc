#include "kernels/cpu/kv_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "kernels/cpu/page_copy.h"

namespace quire {
namespace {

constexpr KvLayout kLayout{.num_layers = 3, .num_kv_heads = 2, .head_dim = 48, .page_size = 32, .num_pages = 5};

TEST(CpuKvCache, GivesEveryElementAPlaceOfItsOwn) {
  const auto cache = CpuKvCache::Create(kLayout).value();
  std::set<const uint16_t*> places;
  for (int layer = 0; layer < kLayout.num_layers; ++layer) {
    for (int page = 0; page < kLayout.num_pages; ++page) {
      for (int head = 0; head < kLayout.num_kv_heads; ++head) {
        for (int offset = 0; offset < kLayout.page_size; ++offset) {
          for (int dim = 0; dim < kLayout.head_dim; ++dim) {
            places.insert(cache->Keys(layer, page, head) + cache->KeyIndex(offset, dim));
            places.insert(cache->Values(layer, page, head) + cache->ValueIndex(offset, dim));
          }
        }
      }
    }
  }
  const int64_t elements = kLayout.BytesPerPage() / 2 * kLayout.num_pages;
  EXPECT_EQ(static_cast<int64_t>(places.size()), elements);
  EXPECT_EQ(*places.begin(), cache->Keys(0, 0, 0));
  EXPECT_EQ(*places.rbegin(), cache->Keys(0, 0, 0) + elements - 1);
}

TEST(CpuKvCache, RefusesLayoutsWithoutKernels) {
  const auto error = [](auto change) {
    KvLayout layout = kLayout;
    change(layout);
    return CpuKvCache::Create(layout).status();
  };
  for (const absl::Status& status :
       {error([](KvLayout& l) { l.dtype = DType::kQ8_0; }), error([](KvLayout& l) { l.head_dim = 40; }),
        error([](KvLayout& l) { l.head_dim = 272; }), error([](KvLayout& l) { l.page_size = 8; }),
        error([](KvLayout& l) { l.page_size = 40; }), error([](KvLayout& l) { l.num_pages = 0; }),
        error([](KvLayout& l) { l.num_layers = -1; }), error([](KvLayout& l) { l.num_kv_heads = 0; })}) {
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  }
}

TEST(CpuKvCache, SaysWhenMemoryCannotBeHad) {
  KvLayout layout = kLayout;
  layout.num_layers = layout.num_kv_heads = layout.num_pages = std::numeric_limits<int>::max();
  EXPECT_TRUE(absl::IsResourceExhausted(CpuKvCache::Create(layout).status()));
  layout = {.num_layers = 1000, .num_kv_heads = 100, .head_dim = 256, .page_size = 128, .num_pages = 30000};
  EXPECT_TRUE(absl::IsResourceExhausted(CpuKvCache::Create(layout).status()));  // 393 TB: past the address space.
}

TEST(CopyKvPages, CopiesTheFirstTokensAndNothingElse) {
  const int64_t elements = kLayout.BytesPerPage() / 2 * kLayout.num_pages;
  for (int num_tokens : {1, 2, 15, 16, 17, 31, 32}) {
    for (int num_workers : {1, 2}) {
      const auto cache = CpuKvCache::Create(kLayout).value();
      uint16_t* data = cache->Keys(0, 0, 0);
      for (int64_t i = 0; i < elements; ++i) data[i] = static_cast<uint16_t>(i * 40503 >> 4);
      std::vector<uint16_t> expected(data, data + elements);
      const std::vector<PageCopy> copies = {{1, 3, num_tokens}, {4, 0, 5}};
      for (const auto& [source, destination, tokens] : copies) {
        for (int layer = 0; layer < kLayout.num_layers; ++layer) {
          for (int head = 0; head < kLayout.num_kv_heads; ++head) {
            for (int i = 0; i < tokens * kLayout.head_dim; ++i) {
              const int64_t key = cache->KeyIndex(i / kLayout.head_dim, i % kLayout.head_dim);
              const int64_t value = cache->ValueIndex(i / kLayout.head_dim, i % kLayout.head_dim);
              expected[cache->Keys(layer, destination, head) - data + key] = cache->Keys(layer, source, head)[key];
              expected[cache->Values(layer, destination, head) - data + value] =
                  cache->Values(layer, source, head)[value];
            }
          }
        }
      }
      WorkerPool pool(num_workers);
      CopyKvPages(*cache, copies, pool);
      EXPECT_TRUE(std::equal(expected.begin(), expected.end(), data)) << num_tokens;
    }
  }
}

}  // namespace
}  // namespace quire
