#include "kernels/cpu/kv_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <limits>
#include <memory>
#include <vector>

#include "kernels/cpu/page_copy.h"
#include "tests/kernels/kv_types.h"

namespace quire {
namespace {

constexpr KvLayout kLayout{.num_layers = 3, .num_kv_heads = 2, .head_dim = 96, .page_size = 32, .num_pages = 5};

KvLayout LayoutOf(const KvTypes& types) {
  KvLayout layout = kLayout;
  layout.key_dtype = types.key;
  layout.value_dtype = types.value;
  return layout;
}

// Calls fn(offset in the cache's memory, bytes, whether it is the high half of a byte whose low half belongs to the
// token as well) for everything that belongs to a token.
template <typename Function>
void ForPlacesOf(const CpuKvCache& cache, int layer, int page, int head, int offset, Function fn) {
  const int token = offset % kKvBlockTokens;
  const auto visit = [&](const KvBlockLayout& block, const std::byte* memory, auto offset_of, auto is_high) {
    for (int dim = 0; dim < kLayout.head_dim; ++dim) {
      fn(memory + offset_of(dim) - cache.data(), std::max(block.element_bits() / 8, 1), is_high(dim));
    }
    if (block.has_scales()) fn(memory + block.ScaleOffset(token) - cache.data(), block.scale_bytes(), false);
    if (block.has_middles()) fn(memory + block.MiddleOffset(token) - cache.data(), block.scale_bytes(), false);
  };
  const KvBlockLayout &keys = cache.key_block(), &values = cache.value_block();
  visit(
      keys, cache.KeyBlock(layer, page, head, offset), [&](int dim) { return keys.KeyOffset(token, dim); },
      [&](int dim) { return keys.IsKeyHigh(dim); });
  visit(
      values, cache.ValueBlock(layer, page, head, offset), [&](int dim) { return values.ValueOffset(token, dim); },
      [&](int dim) { return values.IsValueHigh(dim); });
}

class CpuKvCacheOf : public testing::TestWithParam<KvTypes> {};

TEST_P(CpuKvCacheOf, GivesEveryElementAndScaleAPlaceOfItsOwn) {
  const KvLayout layout = LayoutOf(GetParam());
  const auto cache = CpuKvCache::Create(layout).value();
  ASSERT_EQ(static_cast<int64_t>(cache->bytes()), layout.BytesPerPage() * layout.num_pages);
  std::vector<int> uses(cache->bytes());
  int64_t halves = 0;  // That share a byte with another element.
  for (int layer = 0; layer < kLayout.num_layers; ++layer) {
    for (int page = 0; page < kLayout.num_pages; ++page) {
      for (int head = 0; head < kLayout.num_kv_heads; ++head) {
        for (int offset = 0; offset < kLayout.page_size; ++offset) {
          ForPlacesOf(*cache, layer, page, head, offset, [&](int64_t place, int bytes, bool high) {
            halves += high;
            for (int i = 0; i < bytes; ++i) uses.at(place + i) += high ? 0 : 1;
          });
        }
      }
    }
  }
  EXPECT_THAT(uses, testing::Each(1));
  const int64_t elements =
      int64_t{layout.num_layers} * layout.num_kv_heads * layout.num_pages * layout.page_size * layout.head_dim;
  EXPECT_EQ(halves, elements / 2 * ((GetParam().key == KvDType::kInt4) + (GetParam().value == KvDType::kInt4)));
}

TEST(CpuKvCache, RefusesLayoutsWithoutKernels) {
  const auto error = [](auto change) {
    KvLayout layout = kLayout;
    change(layout);
    return CpuKvCache::Create(layout).status();
  };
  for (const absl::Status& status :
       {error([](KvLayout& l) { l.key_dtype = KvDType::kInt8; }),
        error([](KvLayout& l) { l.value_dtype = KvDType::kInt8; }),
        error([](KvLayout& l) { l.value_dtype = KvDType::kInt4; }), error([](KvLayout& l) {
          l.key_dtype = KvDType::kInt8;
          l.value_dtype = KvDType::kInt4;
          l.head_dim = 48;
        }),
        error([](KvLayout& l) { l.key_dtype = l.value_dtype = KvDType::kF32; }),
        error([](KvLayout& l) { l.key_dtype = l.value_dtype = KvDType::kFp8; }),
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
          ForPlacesOf(*cache, layer, source, head, i % tokens, [&](int64_t place, int bytes, bool) {
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

INSTANTIATE_TEST_SUITE_P(, CpuKvCacheOf, testing::ValuesIn(kEveryKv),
                         [](const auto& tested) { return NameOf(tested.param); });

}  // namespace
}  // namespace quire
