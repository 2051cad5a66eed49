#include "server/bench/load/arrivals.h"

#include <cmath>
#include <random>

#include "kernels/check.h"

namespace quire {
namespace {

double RateAt(const ArrivalOptions& options, double progress) {
  switch (options.ramp) {
    case ArrivalOptions::Ramp::kNone:
      return options.rate;
    case ArrivalOptions::Ramp::kLinear:
      return options.start_rate + (options.rate - options.start_rate) * progress;
    case ArrivalOptions::Ramp::kExponential:
      return options.start_rate * std::pow(options.rate / options.start_rate, progress);
  }
  return options.rate;
}

}  // namespace

std::vector<double> DrawArrivals(const ArrivalOptions& options, int count) {
  QUIRE_CHECK(options.rate > 0 && options.burstiness > 0 && options.start_rate > 0);
  std::vector<double> times(count, 0.0);
  if (std::isinf(options.rate)) return times;
  std::mt19937_64 random(options.seed);
  std::gamma_distribution<double> interval(options.burstiness, 1 / options.burstiness);  // Of mean 1.
  double now = 0;
  for (int i = 0; i < count; ++i) {
    now += interval(random) / RateAt(options, static_cast<double>(i) / count);
    times[i] = now;
  }
  return times;
}

}  // namespace quire
