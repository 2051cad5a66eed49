#include "engine/loader/gguf_checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <limits>
#include <set>

#include "tests/fakes/small_gguf.h"

namespace quire {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::span<const std::byte> AsBytes(const std::string& text) { return std::as_bytes(std::span(text)); }

absl::StatusOr<std::unique_ptr<GgufCheckpoint>> Parse(const std::string& image) {
  return GgufCheckpoint::Parse(AsBytes(image), nullptr);
}

std::string ErrorOf(const std::string& image) {
  const auto checkpoint = Parse(image);
  EXPECT_EQ(checkpoint.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(checkpoint.status().message());
}

TEST(GgufCheckpoint, ReadsMetadataOfEveryKind) {
  for (const uint32_t version : {2, 3}) {
    const std::string image = SmallGguf().Write(version).bytes;
    const auto checkpoint = Parse(image);
    ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
    EXPECT_EQ((*checkpoint)->GetString("name").value(), "quire");
    EXPECT_EQ((*checkpoint)->GetInt("u32").value(), 4'000'000'000);
    EXPECT_EQ((*checkpoint)->GetInt("i8").value(), -3);
    EXPECT_EQ((*checkpoint)->GetFloat("f32").value(), 0.5);
    EXPECT_EQ((*checkpoint)->GetFloat("f64").value(), 0.25);
    EXPECT_TRUE((*checkpoint)->GetBool("bool").value());
    EXPECT_THAT((*checkpoint)->GetStrings("strings").value(), ElementsAre("a", "", "bc"));
    EXPECT_THAT((*checkpoint)->GetInts("ints").value(), ElementsAre(1, -2, 3));
    EXPECT_TRUE((*checkpoint)->Has("ints"));
    EXPECT_FALSE((*checkpoint)->Has("int"));
  }
}

TEST(GgufCheckpoint, SaysWhichKeyIsMissingOrOfAnotherKind) {
  const std::string image = SmallGguf().Write().bytes;
  const auto checkpoint = Parse(image);
  ASSERT_TRUE(checkpoint.ok());
  EXPECT_EQ((*checkpoint)->GetInt("nothing").status(), absl::NotFoundError("there is no metadata 'nothing'"));
  EXPECT_EQ((*checkpoint)->GetInt("f32").status(),
            absl::InvalidArgumentError("metadata 'f32' must be an integer, got float32"));
  EXPECT_EQ((*checkpoint)->GetInt("u64").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ((*checkpoint)->GetFloat("u32").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ((*checkpoint)->GetBool("u32").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ((*checkpoint)->GetString("strings").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ((*checkpoint)->GetStrings("ints").status(),
            absl::InvalidArgumentError("metadata 'ints' must be an array of strings, got an array of int32"));
  EXPECT_EQ((*checkpoint)->GetInts("strings").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ((*checkpoint)->GetInts("u32").status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(GgufCheckpoint, HandsOutTensorsWithTheirBytes) {
  const std::string image = SmallGguf().Write().bytes;
  const auto checkpoint = Parse(image);
  ASSERT_TRUE(checkpoint.ok());
  const auto vector = (*checkpoint)->GetTensor("vector");
  ASSERT_TRUE(vector.ok());
  EXPECT_EQ(vector->rows, 1);
  EXPECT_EQ(vector->cols, 3);
  const auto matrix = (*checkpoint)->GetTensor("matrix");
  ASSERT_TRUE(matrix.ok());
  EXPECT_EQ(matrix->dtype, DType::kQ8_0);
  EXPECT_EQ(matrix->rows, 2);
  EXPECT_EQ(matrix->cols, 32);
  ASSERT_EQ(matrix->bytes.size(), 68u);
  EXPECT_EQ(static_cast<char>(matrix->bytes.front()), 'm');
  EXPECT_EQ(static_cast<char>(matrix->bytes.back()), 'm');
  EXPECT_THAT((*checkpoint)->TensorNames(), ElementsAre("cube", "exotic", "matrix", "vector"));
}

TEST(GgufCheckpoint, RefusesATensorItCannotComputeWithOnlyWhenAskedForIt) {
  const std::string image = SmallGguf().Write().bytes;
  const auto checkpoint = Parse(image);
  ASSERT_TRUE(checkpoint.ok());
  EXPECT_TRUE((*checkpoint)->HasTensor("exotic"));
  EXPECT_EQ((*checkpoint)->GetTensor("exotic").status(),
            absl::InvalidArgumentError("tensor 'exotic' is of ggml type 10, which is not supported"));
  EXPECT_EQ((*checkpoint)->GetTensor("cube").status(),
            absl::InvalidArgumentError("tensor 'cube' must have one or two dimensions, got 3"));
  EXPECT_EQ((*checkpoint)->GetTensor("none").status(), absl::NotFoundError("there is no tensor 'none'"));
}

TEST(GgufCheckpoint, KnowsEveryElementType) {
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16, DType::kQ8_0, DType::kQ4_0, DType::kQ4_1,
                            DType::kQ5_0, DType::kQ5_1, DType::kQ4_K, DType::kQ5_K, DType::kQ6_K}) {
    SCOPED_TRACE(std::string(TraitsOf(dtype).name));
    const uint64_t cols = TraitsOf(dtype).block_elements;
    GgufWriter writer;
    writer.AddTensor("t", {cols, 3}, GgmlTypeOf(dtype), std::string(3 * TraitsOf(dtype).block_bytes, 0));
    const std::string image = writer.Write().bytes;
    const auto checkpoint = Parse(image);
    ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
    EXPECT_EQ((*checkpoint)->GetTensor("t")->dtype, dtype);
    // One byte less and the last row is not whole.
    EXPECT_THAT(ErrorOf(image.substr(0, image.size() - 1)), HasSubstr("tensor 't': its 3 x"));
  }
}

TEST(GgufCheckpoint, SaysWhatIsWrongAndWhere) {
  const GgufImage image = SmallGguf().Write();
  EXPECT_THAT(ErrorOf(image.With("magic", 1)), HasSubstr("not a GGUF file"));
  EXPECT_EQ(ErrorOf(image.With("version", 4)), "byte 4: GGUF version must be 2 or 3, got 4");
  EXPECT_THAT(ErrorOf(image.With("version", 0x03000000)), HasSubstr("big endian"));
  EXPECT_THAT(ErrorOf(image.With("tensor_count", uint64_t{1} << 60)), HasSubstr("at most"));
  EXPECT_THAT(ErrorOf(image.With("key_count", uint64_t{1} << 60)), HasSubstr("at most"));
  EXPECT_THAT(ErrorOf(image.With("strings.count", uint64_t{1} << 60)),
              AllOf(HasSubstr("metadata 'strings'"), HasSubstr("the array's length")));
  EXPECT_THAT(ErrorOf(image.With("strings.element_type", 9)), HasSubstr("array of arrays"));
  EXPECT_THAT(ErrorOf(image.With("name.length", ~uint64_t{0})), HasSubstr("but the file ends after"));
  EXPECT_THAT(ErrorOf(image.With("name.key.length", 0)), HasSubstr("must have 1 to"));
  EXPECT_THAT(ErrorOf(image.With("bool.value", 2)), HasSubstr("a bool must be 0 or 1, got 2"));
  EXPECT_THAT(ErrorOf(image.With("u32.type", 13)), HasSubstr("which is not a type of GGUF"));
  EXPECT_THAT(ErrorOf(image.With("vector.num_dims", 5)), HasSubstr("1 to 4 dimensions, got 5"));
  EXPECT_THAT(ErrorOf(image.With("vector.num_dims", 0)), HasSubstr("1 to 4 dimensions, got 0"));
  EXPECT_THAT(ErrorOf(image.With("vector.dim", 0)), HasSubstr("tensor 'vector': byte "));
  EXPECT_THAT(ErrorOf(image.With("matrix.dim", uint64_t{1} << 62)), HasSubstr("does not fit 63 bits"));
  EXPECT_THAT(ErrorOf(image.With("matrix.dim", uint64_t{1} << 61)), HasSubstr("do not fit the"));
  EXPECT_THAT(ErrorOf(image.With("matrix.dim", 33)), HasSubstr("a row of Q8_0 must be a multiple of 32"));
  EXPECT_THAT(ErrorOf(image.With("matrix.offset", 1)), HasSubstr("not a multiple of the alignment"));
  EXPECT_THAT(ErrorOf(image.With("matrix.offset", 0)), HasSubstr("overlaps"));
  EXPECT_THAT(ErrorOf(image.With("exotic.offset", 32)), HasSubstr("overlaps"));
  EXPECT_THAT(ErrorOf(image.With("matrix.offset", uint64_t{0} - 32)), HasSubstr("beyond the tensor data"));
  for (const uint32_t alignment : {0u, 1u, 4u, 31u, 33u, 48u, 0xffffffffu}) {
    EXPECT_THAT(ErrorOf(image.With("general.alignment.value", alignment)), HasSubstr("power of two"));
  }
  EXPECT_THAT(ErrorOf(image.With("general.alignment.type", 5)), HasSubstr("must be a uint32"));
}

TEST(GgufCheckpoint, RefusesNamesThatOccurTwice) {
  GgufWriter writer = SmallGguf();
  writer.AddTensor("vector", {1}, GgmlTypeOf(DType::kF32), std::string(4, 0));
  EXPECT_THAT(ErrorOf(writer.Write().bytes), HasSubstr("tensor 'vector' occurs twice"));
  std::string image = SmallGguf().Write().bytes;
  image.replace(image.find("f64"), 3, "f32");
  EXPECT_THAT(ErrorOf(image), HasSubstr("metadata 'f32' occurs twice"));
}

TEST(GgufCheckpoint, EscapesNamesInErrors) {
  GgufWriter writer;
  writer.AddTensor(std::string("\x1b[2J\xff\n") + std::string(5000, 'n'), {1}, GgmlTypeOf(DType::kF32), "");
  const std::string error = ErrorOf(writer.Write().bytes);
  EXPECT_LT(error.size(), 500u);
  for (const char c : error) EXPECT_TRUE(c >= ' ' && c <= '~') << error;
}

TEST(GgufCheckpoint, SurvivesEveryTruncation) {
  const std::string image = SmallGguf().Write().bytes;
  ASSERT_TRUE(Parse(image).ok());
  for (size_t size = 0; size < image.size(); ++size) {
    // A copy of its own, so that a sanitizer sees one byte too many.
    const std::string truncated = image.substr(0, size);
    SCOPED_TRACE(size);
    ExerciseGguf(truncated);
    // The last tensor's format is unknown, and so is its end.
    if (size < image.size() - 84) {
      EXPECT_FALSE(Parse(truncated).ok());
    }
  }
}

TEST(GgufCheckpoint, SurvivesEveryNumberBeingReplaced) {
  const GgufImage image = SmallGguf().Write();
  std::set<uint64_t> values = {0, std::numeric_limits<uint64_t>::max(), std::numeric_limits<uint32_t>::max()};
  for (int k = 0; k < 64; ++k) {
    const uint64_t power = uint64_t{1} << k;
    values.insert({power - 1, power, power + 1});
  }
  for (uint64_t type = 0; type < 16; ++type) values.insert(type);
  for (const GgufField& field : image.fields) {
    for (const uint64_t value : values) {
      SCOPED_TRACE(field.name + " = " + std::to_string(value));
      ExerciseGguf(image.With(field, value));
    }
  }
}

TEST(GgufCheckpoint, SpendsNoMemoryOnWhatAFileOnlyClaims) {
  rusage before;
  getrusage(RUSAGE_SELF, &before);
  const GgufImage image = SmallGguf().Write();
  for (const char* field : {"tensor_count", "key_count", "strings.count", "ints.count", "name.length", "vector.dim"}) {
    for (const int bits : {20, 30, 40, 60}) ExerciseGguf(image.With(field, uint64_t{1} << bits));
  }
  rusage after;
  getrusage(RUSAGE_SELF, &after);
  EXPECT_LT(after.ru_maxrss - before.ru_maxrss, 64 << 10);  // KiB
}

TEST(GgufCheckpoint, StopsReadingAHeaderThatIsTooLarge) {
  // A sparse file: 65 MiB of empty strings after the claim that there are many arrays of them.
  std::string image = SmallGguf().Write().With("strings.count", 1 << 20);
  image.resize(size_t{65} << 20);
  const std::string error = ErrorOf(image);
  EXPECT_FALSE(error.empty());

  GgufWriter writer;
  writer.SetString("padding", std::string((64 << 20) - 50, ' '));
  writer.SetString("beyond", "text");
  EXPECT_THAT(ErrorOf(writer.Write().bytes + "."), HasSubstr("64 MiB"));
}

TEST(GgufCheckpoint, FingerprintsMetadataShapesAndWeights) {
  const auto fingerprint = [](const std::string& image) { return Parse(image).value()->Fingerprint(); };
  const GgufImage image = SmallGguf().Write();
  EXPECT_EQ(fingerprint(image.bytes), fingerprint(SmallGguf().Write().bytes));
  std::set<uint64_t> seen = {fingerprint(image.bytes)};
  EXPECT_TRUE(seen.insert(fingerprint(image.With("u32.value", 7))).second);
  EXPECT_TRUE(seen.insert(fingerprint(image.With("vector.dim", 2))).second);
  std::string weights = image.bytes;
  weights[weights.find("mmmm")] = 'n';
  EXPECT_TRUE(seen.insert(fingerprint(weights)).second);
}

TEST(OpenCheckpoint, MapsAFile) {
  const std::string path = WriteTestFile("small.gguf", SmallGguf().Write().bytes);
  const auto checkpoint = OpenCheckpoint(path);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_EQ((*checkpoint)->GetString("name").value(), "quire");
  EXPECT_EQ(static_cast<char>((*checkpoint)->GetTensor("matrix")->bytes.back()), 'm');
}

TEST(OpenCheckpoint, SaysWhatCannotBeOpened) {
  EXPECT_EQ(OpenCheckpoint("/nowhere/model.gguf").status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(OpenCheckpoint("/").status().message()), HasSubstr("not a regular file"));
  EXPECT_THAT(std::string(OpenCheckpoint("/dev/zero").status().message()), HasSubstr("not a regular file"));
  const std::string empty = WriteTestFile("empty.gguf", "");
  EXPECT_EQ(OpenCheckpoint(empty).status(), absl::InvalidArgumentError("the file is empty"));
}

}  // namespace
}  // namespace quire
