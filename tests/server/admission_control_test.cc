#include "server/admission_control.h"

#include <gtest/gtest.h>

#include <thread>

#include "absl/time/clock.h"
#include "server/status_details.h"

namespace quire {
namespace {

const absl::Time kStart = absl::UnixEpoch();

TEST(AdmissionControl, RefusesMoreThanItsLimitUntilARequestEnds) {
  AdmissionControl admission(2);
  EXPECT_TRUE(admission.Admit(kStart).ok());
  EXPECT_TRUE(admission.Admit(kStart).ok());
  EXPECT_TRUE(absl::IsResourceExhausted(admission.Admit(kStart)));
  admission.RequestOver(kStart);
  EXPECT_TRUE(admission.Admit(kStart).ok());
}

TEST(AdmissionControl, TellsARefusedClientHowLongTheQueueWillTake) {
  AdmissionControl admission(3);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(admission.Admit(kStart).ok());
  // One request each two seconds.
  for (int i = 1; i <= 40; ++i) {
    admission.RequestOver(kStart + absl::Seconds(2 * i));
    ASSERT_TRUE(admission.Admit(kStart + absl::Seconds(2 * i)).ok());
  }
  const auto delay = RetryDelayOf(admission.Admit(kStart + absl::Seconds(80)));
  ASSERT_TRUE(delay.has_value());
  EXPECT_EQ(*delay, absl::Seconds(6));
}

TEST(AdmissionControl, DoesNotTakeIdleTimeForSlowness) {
  AdmissionControl admission(1);
  ASSERT_TRUE(admission.Admit(kStart).ok());
  admission.RequestOver(kStart + absl::Seconds(1));
  ASSERT_TRUE(admission.Admit(kStart + absl::Hours(1)).ok());
  admission.RequestOver(kStart + absl::Hours(1) + absl::Seconds(1));
  ASSERT_TRUE(admission.Admit(kStart + absl::Hours(2)).ok());
  EXPECT_EQ(RetryDelayOf(admission.Admit(kStart + absl::Hours(2))), absl::Seconds(1));
}

TEST(AdmissionControl, AnswersUnavailableOnceClosed) {
  AdmissionControl admission(1);
  admission.Close();
  EXPECT_TRUE(absl::IsUnavailable(admission.Admit(kStart)));
}

TEST(AdmissionControl, WaitsForStreamsThatOutliveTheirRequests) {
  AdmissionControl admission(1);
  EXPECT_TRUE(admission.AwaitNoStreams(absl::Now()));
  ASSERT_TRUE(admission.Admit(kStart).ok());
  admission.RequestOver(kStart);
  EXPECT_FALSE(admission.AwaitNoStreams(absl::Now()));
  std::thread ending([&admission] { admission.StreamOver(); });
  EXPECT_TRUE(admission.AwaitNoStreams(absl::Now() + absl::Minutes(1)));
  ending.join();
}

}  // namespace
}  // namespace quire
