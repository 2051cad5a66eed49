// What MatMul is to give with weights in float8.
#pragma once

#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/ops.h"
#include "tests/cuda_shim/control.h"
#include "tests/kernels/cpu/paged_batch.h"
#include "tests/reference/float8.h"

namespace quire {

// norm(input) . weights^T, of codes, exactly: [input.rows, weights' rows]. Tolerances are for sums in float32, or of the
// fewer bits that a device's instructions for float8 may keep, and for what codes of the input may be where a norm is
// off by a few units in its last place.
struct Float8Products {
  Float8Products(const std::vector<float>& weights, Matrix& input, const RmsNorm& norm) {
    const auto cols = static_cast<size_t>(input.cols);
    std::vector<Float8Numbers> channels;
    for (size_t begin = 0; begin < weights.size(); begin += cols) {
      channels.push_back(RoundToFloat8(std::span(weights).subspan(begin, cols)));
    }
    for (int64_t m = 0; m < input.rows; ++m) {
      const std::vector<float> row = Normalized({input.Row(m), cols}, norm);
      const Float8Numbers rounded = RoundToFloat8(row);
      const double of_sums = cuda_shim::IsEmulated() ? 1e-6 : 0x1p-9;
      const double slack = norm.weight.empty() ? 0 : 1e-6;
      for (const Float8Numbers& channel : channels) {
        double sum = 0, magnitude = 0, changes = 0;
        for (size_t k = 0; k < cols; ++k) {
          const double number = rounded.scale == 0 ? 0 : row[k] / rounded.scale, code = channel.codes[k];
          sum += rounded.codes[k] * code;
          magnitude += std::abs(rounded.codes[k] * code);
          const float least = NearestFloat8(static_cast<float>(number * (1 - slack)));
          const float most = NearestFloat8(static_cast<float>(number * (1 + slack)));
          if (slack > 0) changes += std::abs((most - least) * code);
        }
        const double scale = double{rounded.scale} * channel.scale;
        values.push_back(sum * scale);
        tolerances.push_back(((of_sums + slack) * magnitude + changes) * scale);
      }
    }
  }

  std::vector<double> values, tolerances;

 private:
  static std::vector<float> Normalized(std::span<const float> row, const RmsNorm& norm) {
    std::vector<float> normalized(row.begin(), row.end());
    if (norm.weight.empty()) return normalized;
    double squares = 0;
    for (const float x : row) squares += double{x} * x;
    const double scale = 1 / std::sqrt(squares / static_cast<double>(row.size()) + norm.epsilon);
    for (size_t k = 0; k < row.size(); ++k) {
      normalized[k] = static_cast<float>(row[k] * scale * norm.weight[k]);
    }
    return normalized;
  }
};

}  // namespace quire
