#include "server/http/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/http/json_fields.h"

namespace quire {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string Complaint(const std::string& body) {
  const absl::Status status = ParseJsonObject(body).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  return std::string(status.message());
}

TEST(Json, ReadsAnObjectAndKeepsItsOrder) {
  const absl::StatusOr<Json> json = ParseJsonObject(R"({"b": [1, {"x": "]}\","}], "a": null})");
  ASSERT_TRUE(json.ok()) << json.status();
  EXPECT_EQ(ToText(*json), R"({"b":[1,{"x":"]}\","}],"a":null})");
}

TEST(Json, RefusesWhatIsNoObject) {
  EXPECT_THAT(Complaint("[1]"), HasSubstr("object"));
  EXPECT_THAT(Complaint(""), HasSubstr("the body is not valid JSON at byte"));
  EXPECT_THAT(Complaint("{\"a\": }"), HasSubstr("not valid JSON"));
  EXPECT_THAT(Complaint("{} {}"), HasSubstr("not valid JSON"));
  EXPECT_THAT(Complaint("{\"a\": \"\xFF\"}"), HasSubstr("not valid JSON"));
  EXPECT_THAT(Complaint("{\"a\": \"\xED\xA0\x80\"}"), HasSubstr("not valid JSON"));
}

TEST(Json, RefusesWhatCostsOutOfProportion) {
  EXPECT_THAT(Complaint("{\"a\":" + std::string(100'000, '[')), HasSubstr("the body is nested more than 64 deep"));
}

TEST(Json, PutsWhateverIsInAString) { EXPECT_EQ(ToText(Json{{"a", "x\xFFy"}}), "{\"a\":\"x\xEF\xBF\xBDy\"}"); }

class JsonFieldsTest : public ::testing::Test {
 protected:
  template <typename T>
  static std::string Complaint(const std::string& value) {
    const Json object = Json::parse("{\"f\": " + value + "}");
    T result{};
    const absl::Status status = JsonFields(object, "outer").Read("f", result);
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << value << ": " << status;
    return std::string(status.message());
  }
  template <typename T>
  static T Value(const std::string& value, T result = {}) {
    const Json object = Json::parse("{\"f\": " + value + "}");
    const absl::Status status = JsonFields(object).Read("f", result);
    EXPECT_TRUE(status.ok()) << status;
    return result;
  }
};

TEST_F(JsonFieldsTest, ReadsEachType) {
  EXPECT_EQ(Value<int32_t>("-7"), -7);
  EXPECT_EQ(Value<int32_t>("16.0"), 16);
  EXPECT_EQ(Value<int64_t>("9223372036854775807"), std::numeric_limits<int64_t>::max());
  EXPECT_EQ(Value<float>("1"), 1.0f);
  EXPECT_EQ(Value<bool>("true"), true);
  EXPECT_EQ(Value<std::string>("\"x\""), "x");
  EXPECT_THAT(Value<std::vector<int32_t>>("[1, 2]"), ElementsAre(1, 2));
}

TEST_F(JsonFieldsTest, TakesNullForAbsent) {
  EXPECT_EQ(Value<int32_t>("null", 5), 5);
  EXPECT_FALSE(Value<std::optional<float>>("null").has_value());
  EXPECT_EQ(Value<std::optional<float>>("2"), 2.0f);
}

TEST_F(JsonFieldsTest, NamesTheFieldAndWhatWouldBeRight) {
  EXPECT_EQ(Complaint<int32_t>("\"3\""), "outer.f must be an integer, got a string");
  EXPECT_EQ(Complaint<int32_t>("1.5"), "outer.f must be an integer, got 1.5");
  EXPECT_EQ(Complaint<int32_t>("2147483648"), "outer.f must be in [-2147483648, 2147483647], got 2147483648");
  EXPECT_THAT(Complaint<int32_t>("1e300"), HasSubstr("must be in"));
  EXPECT_THAT(Complaint<int64_t>("9223372036854775808"), HasSubstr("must be in"));
  EXPECT_EQ(Complaint<bool>("1"), "outer.f must be true or false, got 1");
  EXPECT_EQ(Complaint<float>("[]"), "outer.f must be a number, got a list");
  EXPECT_EQ(Complaint<std::string>("{}"), "outer.f must be a string, got an object");
  EXPECT_EQ(Complaint<std::vector<int32_t>>("[1, 2, true]"), "outer.f[2] must be an integer, got a boolean");
  EXPECT_EQ(Complaint<std::vector<std::string>>("\"x\""), "outer.f must be a list, got a string");
}

}  // namespace
}  // namespace quire
