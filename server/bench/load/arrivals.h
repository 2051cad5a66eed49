// When conversations begin: the arrivals of an open loop, which come whether or not the server keeps up.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

namespace quire {

struct ArrivalOptions {
  // From `start_rate` to `rate` over the run, by equal steps or by equal factors.
  enum class Ramp { kNone, kLinear, kExponential };

  double rate = std::numeric_limits<double>::infinity();  // A second, on average; infinite: all at once.
  // Intervals are gamma-distributed with this shape. 1: a Poisson process. Less: bursts. More: more even.
  double burstiness = 1;
  Ramp ramp = Ramp::kNone;
  double start_rate = 1;  // With a ramp. Above 0.
  uint64_t seed = 1;
};

// Seconds from the beginning of the run, ascending.
std::vector<double> DrawArrivals(const ArrivalOptions& options, int count);

}  // namespace quire
