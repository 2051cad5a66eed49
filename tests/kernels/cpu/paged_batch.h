// A ragged batch over randomly placed pages, with random Q, K and V, for tests and benchmarks of the paged kernels.
#pragma once

#include <cstdint>
#include <random>
#include <vector>

#include "kernels/paged_kv.h"
#include "kernels/tensor_view.h"

namespace quire {

struct SequenceShape {
  int context_len = 0;
  int num_queries = 0;  // The context's last tokens, which are in the batch.
  int num_shared = 0;   // The context's first tokens, whole pages, which lie on the pages of the sequence before.
};

// Owns what a PagedBatchView points to.
class PagedBatch {
 public:
  // Places the sequences on pages of [0, num_pages), in an order drawn from `random`.
  PagedBatch(const std::vector<SequenceShape>& shapes, int page_size, int num_pages, std::mt19937& random);

  PagedBatchView view() const;
  // The same sequences on the same pages, with other tokens of each context in the batch.
  PagedBatch WithQueries(const std::vector<SequenceShape>& shapes) const;

 private:
  PagedBatch() = default;
  void AddTokens(const std::vector<SequenceShape>& shapes);

  int page_size_ = 0;
  std::vector<int32_t> positions_;
  std::vector<int32_t> slot_mapping_;
  std::vector<int32_t> query_start_;
  std::vector<int32_t> context_lens_;
  std::vector<int32_t> block_indptr_;
  std::vector<int32_t> block_indices_;
};

int PagesFor(const std::vector<SequenceShape>& shapes, int page_size);

// A matrix that owns its elements.
struct Matrix {
  Matrix(int64_t num_rows, int64_t num_cols) : rows(num_rows), cols(num_cols), data(num_rows * num_cols) {}
  MatrixView<float> view() { return {data.data(), rows, cols, cols}; }
  float* Row(int64_t row) { return data.data() + row * cols; }

  int64_t rows;
  int64_t cols;
  std::vector<float> data;
};

// A copy of rows [begin, begin + count).
Matrix Rows(Matrix& matrix, int64_t begin, int64_t count);

// Standard normal elements.
Matrix RandomMatrix(int64_t rows, int64_t cols, std::mt19937& random);

}  // namespace quire
