// Short ways of adding metrics to a registry, and a counter that follows a total counted elsewhere.
#pragma once

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>

#include "absl/time/time.h"

namespace quire {

using prometheus::Labels;

inline prometheus::Counter& AddCounter(prometheus::Registry& registry, const std::string& name, const std::string& help,
                                       const Labels& labels) {
  return prometheus::BuildCounter().Name(name).Help(help).Register(registry).Add(labels);
}

inline prometheus::Gauge& AddGauge(prometheus::Registry& registry, const std::string& name, const std::string& help,
                                   const Labels& labels) {
  return prometheus::BuildGauge().Name(name).Help(help).Register(registry).Add(labels);
}

// `buckets` are upper bounds, ascending; the one for all the rest is added.
inline prometheus::Histogram& AddHistogram(prometheus::Registry& registry, const std::string& name,
                                           const std::string& help, const Labels& labels,
                                           std::span<const double> buckets) {
  return prometheus::BuildHistogram().Name(name).Help(help).Register(registry).Add(
      labels, prometheus::Histogram::BucketBoundaries(buckets.begin(), buckets.end()));
}

// Clocks may be set back between two readings; a histogram's sum must not fall for it.
inline void Observe(prometheus::Histogram& histogram, absl::Duration time) {
  histogram.Observe(absl::ToDoubleSeconds(std::max(time, absl::ZeroDuration())));
}

// One thread writes it.
class TotalCounter {
 public:
  explicit TotalCounter(prometheus::Counter& counter) : counter_(counter) {}

  // REQUIRES: no total is less than the one before.
  void Follow(uint64_t total) {
    if (total == seen_) return;
    counter_.Increment(static_cast<double>(total - seen_));
    seen_ = total;
  }

 private:
  prometheus::Counter& counter_;
  uint64_t seen_ = 0;
};

}  // namespace quire
