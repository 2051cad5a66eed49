// What every backend's transfers of pages keep to.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <vector>

#include "kernels/ops.h"

namespace quire {

inline std::vector<std::byte> SomeBytes(size_t count, int seed) {
  std::vector<std::byte> bytes(count);
  for (size_t i = 0; i < count; ++i) bytes[i] = static_cast<std::byte>((i + seed) * 40503 >> 4);
  return bytes;
}

// Pages go into a cache, through a copy there, and out again, whole and without touching their neighbours.
inline void TestTransfers(Ops& ops, const KvLayout& layout) {
  const std::unique_ptr<KvCache> cache = ops.AllocateKvCache(layout).value();
  const std::unique_ptr<HostPages> host = ops.AllocateHostPages(layout, 6).value();
  ASSERT_EQ(host->num_pages(), 6);
  EXPECT_EQ(ops.TransfersDone().value(), 0u);
  std::vector<std::vector<std::byte>> expected;
  for (int i = 0; i < 3; ++i) {
    expected.push_back(SomeBytes(layout.BytesPerPage(), 7 * i));
    std::ranges::copy(expected[i], host->page(i).begin());
  }
  const std::vector<PageTransfer> in = {{.page = 3, .host_page = 0}, {.page = 1, .host_page = 2}, {2, 1}};
  EXPECT_EQ(ops.StartFromHost(*cache, in, *host).value(), 1u);
  EXPECT_EQ(ops.TransfersDone(1).value(), 1u);
  // A copy that only the cache's stream knows of, and what is read behind it.
  const PageCopy copy = {.source = 3, .destination = 0, .num_tokens = layout.page_size};
  ops.CopyPages(*cache, {&copy, 1});
  const std::vector<PageTransfer> out = {{.page = 0, .host_page = 3}, {.page = 1, .host_page = 4}};
  EXPECT_EQ(ops.StartToHost(*cache, out, *host).value(), 2u);
  const PageTransfer last = {.page = 2, .host_page = 5};
  EXPECT_EQ(ops.StartToHost(*cache, {&last, 1}, *host).value(), 3u);
  EXPECT_GE(ops.TransfersDone(2).value(), 2u);
  EXPECT_TRUE(std::ranges::equal(host->page(3), expected[0]));
  EXPECT_TRUE(std::ranges::equal(host->page(4), expected[2]));
  // Whoever asks again and again comes to an end.
  while (ops.TransfersDone().value() < 3) {
  }
  EXPECT_TRUE(std::ranges::equal(host->page(5), expected[1]));
  EXPECT_TRUE(std::ranges::equal(host->page(0), expected[0]));
  EXPECT_TRUE(ops.Synchronize().ok());
}

}  // namespace quire
