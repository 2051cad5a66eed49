#include "tests/kernels/cpu/paged_batch.h"

#include <algorithm>
#include <numeric>

#include "kernels/check.h"

namespace quire {
namespace {

int PagesFor(int context_len, int page_size) { return (context_len + page_size - 1) / page_size; }

}  // namespace

int PagesFor(const std::vector<SequenceShape>& shapes, int page_size) {
  int pages = 0;
  for (const SequenceShape& shape : shapes) pages += PagesFor(shape.context_len - shape.num_shared, page_size);
  return pages;
}

PagedBatch::PagedBatch(const std::vector<SequenceShape>& shapes, int page_size, int num_pages, std::mt19937& random)
    : page_size_(page_size), block_indptr_{0} {
  QUIRE_CHECK(PagesFor(shapes, page_size) <= num_pages);
  std::vector<int32_t> pages(num_pages);
  std::iota(pages.begin(), pages.end(), 0);
  std::shuffle(pages.begin(), pages.end(), random);
  for (const SequenceShape& shape : shapes) {
    QUIRE_CHECK(shape.num_shared % page_size == 0);
    for (int i = 0; i < shape.num_shared / page_size; ++i) {
      block_indices_.push_back(block_indices_[*(block_indptr_.end() - 2) + i]);
    }
    for (int i = 0; i < PagesFor(shape.context_len - shape.num_shared, page_size); ++i) {
      block_indices_.push_back(pages.back());
      pages.pop_back();
    }
    block_indptr_.push_back(static_cast<int32_t>(block_indices_.size()));
  }
  AddTokens(shapes);
}

PagedBatch PagedBatch::WithQueries(const std::vector<SequenceShape>& shapes) const {
  PagedBatch batch;
  batch.page_size_ = page_size_;
  batch.block_indptr_ = block_indptr_;
  batch.block_indices_ = block_indices_;
  batch.AddTokens(shapes);
  return batch;
}

void PagedBatch::AddTokens(const std::vector<SequenceShape>& shapes) {
  query_start_ = {0};
  for (size_t s = 0; s < shapes.size(); ++s) {
    const SequenceShape& shape = shapes[s];
    context_lens_.push_back(shape.context_len);
    for (int position = shape.context_len - shape.num_queries; position < shape.context_len; ++position) {
      const int32_t page = block_indices_[block_indptr_[s] + position / page_size_];
      positions_.push_back(position);
      slot_mapping_.push_back(page * page_size_ + position % page_size_);
    }
    query_start_.push_back(static_cast<int32_t>(positions_.size()));
  }
}

PagedBatchView PagedBatch::view() const {
  return {positions_, slot_mapping_, query_start_, context_lens_, block_indptr_, block_indices_};
}

Matrix Rows(Matrix& matrix, int64_t begin, int64_t count) {
  Matrix rows(count, matrix.cols);
  std::copy_n(matrix.Row(begin), count * matrix.cols, rows.data.begin());
  return rows;
}

Matrix RandomMatrix(int64_t rows, int64_t cols, std::mt19937& random) {
  Matrix matrix(rows, cols);
  std::normal_distribution<float> normal;
  for (float& x : matrix.data) x = normal(random);
  return matrix;
}

}  // namespace quire
