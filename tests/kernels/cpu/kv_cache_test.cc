#include "kernels/cpu/kv_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <limits>
#include <memory>
#include <vector>

#include "kernels/cpu/page_copy.h"

namespace quire {
namespace {

constexpr KvLayout kLayout{.num_layers = 3, .num_kv_heads = 2, .head_dim = 48, .page_size = 32, .num_pages = 5};

KvLayout LayoutOf(KvDType dtype) {
  KvLayout layout = kLayout;
  layout.key_dtype = layout.value_dtype = dtype;
  return layout;
}

// Calls fn(offset in the cache's memory, bytes) for everything that belongs to a token.
template <typename Function>
void ForPlacesOf(const CpuKvCache& cache, int layer, int page, int head, int offset, Function fn) {
  const int token = offset % kKvBlockTokens;
  const auto visit = [&](const KvBlockLayout& block, const std::byte* memory, auto offset_of) {
    for (int dim = 0; dim < kLayout.head_dim; ++dim) fn(memory + offset_of(dim) - cache.data(), block.element_bytes);
    if (block.has_scales) fn(memory + block.ScaleOffset(token) - cache.data(), 4);
  };
  visit(cache.key_block(), cache.KeyBlock(layer, page, head, offset),
        [&](int dim) { return cache.key_block().KeyOffset(token, dim); });
  visit(cache.value_block(), cache.ValueBlock(layer, page, head, offset),
        [&](int dim) { return cache.value_block().ValueOffset(token, dim); });
}

class CpuKvCacheOf : public testing::TestWithParam<KvDType> {};

TEST_P(CpuKvCacheOf, GivesEveryElementAndScaleAPlaceOfItsOwn) {
  const KvLayout layout = LayoutOf(GetParam());
  const auto cache = CpuKvCache::Create(layout).value();
  ASSERT_EQ(static_cast<int64_t>(cache->bytes()), layout.BytesPerPage() * layout.num_pages);
  std::vector<int> uses(cache->bytes());
  for (int layer = 0; layer < kLayout.num_layers; ++layer) {
    for (int page = 0; page < kLayout.num_pages; ++page) {
      for (int head = 0; head < kLayout.num_kv_heads; ++head) {
        for (int offset = 0; offset < kLayout.page_size; ++offset) {
          ForPlacesOf(*cache, layer, page, head, offset, [&](int64_t place, int bytes) {
            for (int i = 0; i < bytes; ++i) ++uses.at(place + i);
          });
        }
      }
    }
  }
  EXPECT_THAT(uses, testing::Each(1));
}

TEST(CpuKvCache, RefusesLayoutsWithoutKernels) {
  const auto error = [](auto change) {
    KvLayout layout = kLayout;
    change(layout);
    return CpuKvCache::Create(layout).status();
  };
  for (const absl::Status& status :
       {error([](KvLayout& l) { l.key_dtype = KvDType::kInt8; }),
        error([](KvLayout& l) { l.key_dtype = l.value_dtype = KvDType::kF32; }),
        error([](KvLayout& l) { l.head_dim = 40; }), error([](KvLayout& l) { l.head_dim = 272; }),
        error([](KvLayout& l) { l.page_size = 8; }), error([](KvLayout& l) { l.page_size = 40; }),
        error([](KvLayout& l) { l.num_pages = 0; }), error([](KvLayout& l) { l.num_layers = -1; }),
        error([](KvLayout& l) { l.num_kv_heads = 0; })}) {
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

TEST_P(CpuKvCacheOf, CopiesTheFirstTokensOfAPageAndNothingElse) {
  for (int num_tokens : {1, 2, 3, 15, 16, 17, 31, 32}) {
    for (int num_workers : {1, 2}) {
      const auto cache = CpuKvCache::Create(LayoutOf(GetParam())).value();
      std::byte* data = cache->data();
      for (size_t i = 0; i < cache->bytes(); ++i) data[i] = static_cast<std::byte>(i * 40503 >> 4);
      std::vector<std::byte> expected(data, data + cache->bytes());
      const std::vector<PageCopy> copies = {{1, 3, num_tokens}, {4, 0, 5}};
      for (const auto& [source, destination, tokens] : copies) {
        const int64_t distance = cache->KeyBlock(0, destination, 0, 0) - cache->KeyBlock(0, source, 0, 0);
        for (int i = 0; i < kLayout.num_layers * kLayout.num_kv_heads * tokens; ++i) {
          const int layer = i / tokens / kLayout.num_kv_heads, head = i / tokens % kLayout.num_kv_heads;
          ForPlacesOf(*cache, layer, source, head, i % tokens, [&](int64_t place, int bytes) {
            std::copy_n(data + place, bytes, expected.begin() + place + distance);
          });
        }
      }
      WorkerPool pool(num_workers);
      CopyKvPages(*cache, copies, pool);
      EXPECT_TRUE(std::equal(expected.begin(), expected.end(), data)) << num_tokens;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(, CpuKvCacheOf, testing::Values(KvDType::kBF16, KvDType::kInt8),
                         [](const auto& tested) { return tested.param == KvDType::kInt8 ? "int8" : "bf16"; });

}  // namespace
}  // namespace quire
