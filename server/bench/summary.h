// Statistics of a set of measurements, as load generators report them.
#pragma once

#include <vector>

namespace quire {

struct Summary {
  double mean = 0;
  double median = 0;
  double std = 0;  // Of the population.
  double p90 = 0;
  double p95 = 0;
  double p99 = 0;
};

// All zero for no values. Percentiles interpolate linearly between the two nearest values.
Summary Summarize(std::vector<double> values);

}  // namespace quire
