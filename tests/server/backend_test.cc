#include "server/backend.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/fakes/tiny_model.h"

namespace quire {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(MakeBackend, RefusesToRoundWeightsWhereThatNeedsAGpu) {
  BackendOptions options;
  options.model_path = WriteTinyModel();
  options.device = Device::kCpu;
  options.precision = WeightPrecision::kFloat8;
  const absl::Status status = MakeBackend(options, {}).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_THAT(std::string(status.message()), AllOf(HasSubstr("--quantization fp8"), HasSubstr("cpu")));
}

// A file of pages says by what they were computed.
TEST(Backend, TellsRoundedWeightsFromThoseThatAreNot) {
  Backend backend;
  backend.ops = MakeCpuOps({}).value();
  EXPECT_EQ(backend.Arithmetic(), backend.ops->Arithmetic());
  EXPECT_EQ(backend.Description(), backend.ops->Description());
  backend.model.precision = WeightPrecision::kFloat8;
  EXPECT_EQ(backend.Arithmetic(), backend.ops->Arithmetic() + ", layers in fp8");
  EXPECT_EQ(backend.Description(), backend.ops->Description() + ", layers in fp8");
}

}  // namespace
}  // namespace quire
