#include "server/metrics/process_stats.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "absl/time/clock.h"

namespace quire {
namespace {

// Keeps a processor busy for `cpu` of its time.
void Burn(absl::Duration cpu) {
  const double until = ReadProcessStats().cpu_seconds + absl::ToDoubleSeconds(cpu);
  while (ReadProcessStats().cpu_seconds < until) continue;
}

TEST(ProcessStats, KnowsThisProcess) {
  const ProcessStats stats = ReadProcessStats();
  EXPECT_GT(stats.cpu_seconds, 0);
  EXPECT_GT(stats.resident_bytes, 1 << 20);
  EXPECT_GE(stats.virtual_bytes, stats.resident_bytes);
  EXPECT_GE(stats.max_fds, stats.open_fds);
  const double now = absl::ToDoubleSeconds(absl::Now() - absl::UnixEpoch());
  EXPECT_LE(stats.start_time_seconds, now + 1);
  EXPECT_GT(stats.start_time_seconds, now - 86400) << "it did not start days ago";
}

TEST(ProcessStats, CountsOpenFiles) {
  const int64_t before = ReadProcessStats().open_fds;
  const int fd = open("/dev/null", O_RDONLY);
  EXPECT_EQ(ReadProcessStats().open_fds, before + 1);
  close(fd);
  EXPECT_EQ(ReadProcessStats().open_fds, before);
}

TEST(UtilizationMeter, MeasuresOncePerPeriod) {
  UtilizationMeter meter;
  const absl::Time start = absl::Now();
  const Utilization first = meter.Get(start);
  EXPECT_GT(first.memory, 0);
  Burn(absl::Milliseconds(50));
  EXPECT_EQ(meter.Get(start + UtilizationMeter::kPeriod / 2).cpu, first.cpu);
  const Utilization later = meter.Get(start + UtilizationMeter::kPeriod);
  EXPECT_GT(later.cpu, 0);
  EXPECT_LE(later.cpu, 1);
}

TEST(UtilizationMeter, StaysWithinBoundsWhenTheClockIsSetBack) {
  UtilizationMeter meter;
  meter.Get(absl::Now());
  const Utilization back = meter.Get(absl::Now() - absl::Hours(1));
  EXPECT_GE(back.cpu, 0);
  EXPECT_LE(back.cpu, 1);
}

}  // namespace
}  // namespace quire
