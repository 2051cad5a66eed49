#include "kernels/cuda/page_copy.h"

#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/kernels/cuda/cuda_fixture.h"

namespace quire {
namespace {

constexpr KvLayout kLayout{.num_layers = 3, .num_kv_heads = 2, .head_dim = 48, .page_size = 32, .num_pages = 5};

KvLayout LayoutOf(const KvTypes& types) {
  KvLayout layout = kLayout;
  layout.key_dtype = types.key;
  layout.value_dtype = types.value;
  return layout;
}

struct Piece {
  std::byte* data;
  int64_t bytes;
};

// Where the bytes of one token and head lie: elements of K and V, and scales where there are some.
std::vector<Piece> PiecesOf(PoisonedCudaCache& cache, int layer, int page, int head, int offset) {
  const CudaKvLayer view = cache.Layer(layer);
  const int64_t place = (int64_t{page} * kLayout.num_kv_heads + head) * kLayout.page_size + offset;
  std::vector<Piece> pieces;
  for (const CudaKvPlane& plane : {view.keys, view.values}) {
    const int64_t bytes = plane.dtype == KvDType::kBF16 ? 2 * kLayout.head_dim : kLayout.head_dim;
    pieces.push_back({plane.elements + place * bytes, bytes});
    if (plane.scales != nullptr) pieces.push_back({reinterpret_cast<std::byte*>(plane.scales + place), sizeof(float)});
  }
  return pieces;
}

void FillWithNumbers(PoisonedCudaCache& cache) {
  for (int64_t i = 0; i < cache.bytes(); ++i) cache.memory()[i] = static_cast<std::byte>(i * 40503 >> 4);
}

std::vector<std::byte> Contents(PoisonedCudaCache& cache) { return {cache.memory(), cache.memory() + cache.bytes()}; }

// The cache's contents once page `from` has been copied to `to`.
void CopyInOrder(PoisonedCudaCache& cache, const PageCopy& copy, std::vector<std::byte>& contents) {
  for (int layer = 0; layer < kLayout.num_layers; ++layer) {
    for (int i = 0; i < kLayout.num_kv_heads * copy.num_tokens; ++i) {
      const int head = i / copy.num_tokens, offset = i % copy.num_tokens;
      const std::vector<Piece> from = PiecesOf(cache, layer, copy.source, head, offset);
      const std::vector<Piece> to = PiecesOf(cache, layer, copy.destination, head, offset);
      for (size_t p = 0; p < from.size(); ++p) {
        std::copy_n(contents.begin() + (from[p].data - cache.memory()), from[p].bytes,
                    contents.begin() + (to[p].data - cache.memory()));
      }
    }
  }
}

class CudaPageCopy : public testing::TestWithParam<KvTypes> {};

TEST_P(CudaPageCopy, GivesEveryElementAndScaleAPlaceOfItsOwn) {
  PoisonedCudaCache cache(LayoutOf(GetParam()));
  std::vector<int> uses(cache.bytes());
  for (int layer = 0; layer < kLayout.num_layers; ++layer) {
    for (int page = 0; page < kLayout.num_pages; ++page) {
      for (int i = 0; i < kLayout.num_kv_heads * kLayout.page_size; ++i) {
        for (const auto& [data, bytes] : PiecesOf(cache, layer, page, i / kLayout.page_size, i % kLayout.page_size)) {
          for (int64_t b = 0; b < bytes; ++b) ++uses.at(data - cache.memory() + b);
        }
      }
    }
  }
  EXPECT_TRUE(std::ranges::all_of(uses, [](int count) { return count == 1; }));
}

TEST_P(CudaPageCopy, CopiesTheFirstTokensOfAPageAndNothingElseInOrder) {
  for (const int num_tokens : {1, 3, 16, 17, 32}) {
    PoisonedCudaCache cache(LayoutOf(GetParam()));
    FillWithNumbers(cache);
    std::vector<std::byte> expected = Contents(cache);
    // The third reads what the first has written, the last overwrites what the third has read.
    const std::vector<PageCopy> copies = {{1, 3, num_tokens}, {4, 0, 5}, {3, 2, 32}, {0, 3, 7}};
    for (const PageCopy& copy : copies) CopyInOrder(cache, copy, expected);
    CopyCudaKvPages(cache.layout(), cache.memory(), copies, nullptr);
    ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
    EXPECT_TRUE(Contents(cache) == expected) << num_tokens;
  }
}

TEST_P(CudaPageCopy, BringsPagesToTheHostAndBackToOtherPlaces) {
  PoisonedCudaCache cache(LayoutOf(GetParam()));
  FillWithNumbers(cache);
  std::vector<std::byte> expected = Contents(cache);
  CopyInOrder(cache, {1, 0, 32}, expected);
  CopyInOrder(cache, {4, 2, 32}, expected);
  std::byte* host = nullptr;
  ASSERT_EQ(cudaMallocHost(&host, 2 * cache.layout().BytesPerPage()), cudaSuccess);
  cudaStream_t stream = nullptr;
  ASSERT_EQ(cudaStreamCreate(&stream), cudaSuccess);
  const std::vector<int32_t> from = {1, 4}, to = {0, 2};
  CopyCudaKvPagesToHost(cache.layout(), cache.memory(), from, host, stream);
  CopyCudaKvPagesFromHost(cache.layout(), cache.memory(), to, host, stream);
  ASSERT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
  ASSERT_EQ(cudaGetLastError(), cudaSuccess);
  EXPECT_TRUE(Contents(cache) == expected);
  EXPECT_EQ(cudaStreamDestroy(stream), cudaSuccess);
  EXPECT_EQ(cudaFreeHost(host), cudaSuccess);
}

INSTANTIATE_TEST_SUITE_P(, CudaPageCopy, testing::ValuesIn(kCudaKv),
                         [](const auto& tested) { return NameOf(tested.param); });

}  // namespace
}  // namespace quire
