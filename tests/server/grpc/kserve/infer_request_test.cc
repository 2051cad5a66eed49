#include "server/grpc/kserve/infer_request.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>

#include "server/grpc/kserve/tensors.h"
#include "tests/server/letter_tokenizer.h"

namespace quire::kserve {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string Raw(const std::string& bytes) {
  const auto size = static_cast<uint32_t>(bytes.size());
  std::string out;
  for (int shift = 0; shift < 32; shift += 8) out.push_back(static_cast<char>(size >> shift));
  return out + bytes;
}

class InferRequestTest : public testing::Test {
 protected:
  InferRequestTest() {
    model_.name = "letters";
    model_.max_model_len = 10;
    model_.tokenizer = &tokenizer_;
    parser_.emplace(model_);
    message_.set_model_name("letters");
  }

  InputTensor& Add(const std::string& name, const std::string& datatype, const std::string& raw) {
    InputTensor& tensor = *message_.add_inputs();
    tensor.set_name(name);
    tensor.set_datatype(datatype);
    tensor.add_shape(1);
    message_.add_raw_input_contents(raw);
    return tensor;
  }
  void AddText(const std::string& name, const std::string& text) { Add(name, "BYTES", Raw(text)); }
  void AddSwitch(const std::string& name, bool value) { Add(name, "BOOL", std::string(1, value ? '\1' : '\0')); }

  absl::StatusOr<InferRequest> Parse() { return ParseInferRequest(*parser_, message_); }
  std::string Error() { return std::string(Parse().status().message()); }

  LetterTokenizer tokenizer_;
  ServedModel model_;
  std::optional<RequestParser> parser_;
  inference::ModelInferRequest message_;
};

TEST_F(InferRequestTest, ATextAloneIsEchoedAndSixteenTokensLong) {
  AddText("text_input", "ab");
  const auto request = Parse();
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(std::get<std::string>(request->pipeline.prompt), "ab");
  EXPECT_EQ(request->pipeline.generate.sampling.max_tokens, 16);
  EXPECT_EQ(request->form.echo, "ab");
  EXPECT_FALSE(request->form.stream);
}

TEST_F(InferRequestTest, ContentsBesideTheTensorsMeanTheSame) {
  AddText("text_input", "ab");
  AddSwitch("stream", true);
  message_.clear_raw_input_contents();
  message_.mutable_inputs(0)->mutable_contents()->add_bytes_contents("ab");
  message_.mutable_inputs(1)->mutable_contents()->add_bool_contents(true);
  const auto request = Parse();
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(std::get<std::string>(request->pipeline.prompt), "ab");
  EXPECT_TRUE(request->form.stream);
}

TEST_F(InferRequestTest, AStreamHasNoEcho) {
  AddText("text_input", "ab");
  AddSwitch("stream", true);
  EXPECT_EQ(Parse()->form.echo, "");
  AddSwitch("exclude_input_in_output", false);
  EXPECT_THAT(Error(), HasSubstr("exclude_input_in_output must be true"));
}

TEST_F(InferRequestTest, ParametersMayBeNumbersOrTextsOfThem) {
  AddText("text_input", "ab");
  AddText("sampling_parameters", R"({"temperature": "0.5", "top_k": 3, "seed": "7", "stop": "x", "max_tokens": 4})");
  const auto request = Parse();
  ASSERT_TRUE(request.ok()) << request.status();
  const SamplingParams& sampling = request->pipeline.generate.sampling;
  EXPECT_EQ(sampling.temperature, 0.5f);
  EXPECT_EQ(sampling.top_k, 3);
  EXPECT_EQ(sampling.seed, 7u);
  EXPECT_EQ(sampling.max_tokens, 4);
  EXPECT_THAT(sampling.stop, ElementsAre("x"));
}

TEST_F(InferRequestTest, ParametersOutOfPlaceAreNamed) {
  for (const auto& [json, named] : std::vector<std::pair<std::string, std::string>>{
           {R"({"top_p": 7})", "sampling_parameters.top_p must be in"},
           {R"({"max_tokens": 0})", "sampling_parameters.max_tokens must be"},
           {R"({"temperature": "hot"})", "temperature"},
           {R"({"temprature": 1})", "temprature"},
           {R"({"stop": {"a": 1}})", "sampling_parameters must be"},
           {"7", "must be a JSON object"},
           {"", "must be a JSON object"},
           {"\xff", "sampling_parameters must be UTF-8"},
           {std::string(50000, '['), "must be a JSON object"},
           {R"({"a":)" + std::string(20000, '[') + std::string(20000, ']') + "}", "sampling_parameters"},
           {std::string(70000, ' '), "bytes long"},
       }) {
    message_.clear_inputs();
    message_.clear_raw_input_contents();
    AddText("text_input", "ab");
    AddText("sampling_parameters", json);
    EXPECT_THAT(Error(), HasSubstr(named)) << json.substr(0, 80);
  }
}

TEST_F(InferRequestTest, TensorsOfTheWrongKindAreNamed) {
  EXPECT_THAT(Error(), HasSubstr("text_input must be there"));
  AddText("text_input", "ab");
  message_.mutable_inputs(0)->set_datatype("FP32");
  EXPECT_THAT(Error(), HasSubstr("text_input must be of datatype BYTES, got FP32"));
  message_.mutable_inputs(0)->set_datatype("BYTES");
  message_.mutable_inputs(0)->add_shape(2);
  EXPECT_THAT(Error(), HasSubstr("got shape [1, 2]"));
  message_.mutable_inputs(0)->set_shape(1, 1);
  EXPECT_TRUE(Parse().ok());
  AddSwitch("text_input", true);
  EXPECT_THAT(Error(), HasSubstr("only once"));
  message_.mutable_inputs(1)->set_name("temperature");
  EXPECT_THAT(Error(), HasSubstr("temperature is not an input"));
  message_.mutable_inputs(1)->set_name("return_logprobs");
  EXPECT_THAT(Error(), HasSubstr("return_logprobs must be false"));
}

TEST_F(InferRequestTest, BytesThatDoNotAddUpAreRefused) {
  AddText("text_input", "ab");
  for (const std::string& raw : {std::string(), std::string("\2\0\0", 3), std::string("\3\0\0\0ab", 6),
                                 std::string("\1\0\0\0ab", 6), std::string("\xff\xff\xff\xff", 4)}) {
    message_.set_raw_input_contents(0, raw);
    EXPECT_THAT(Error(), HasSubstr("text_input must hold one element"));
  }
  message_.add_raw_input_contents("");
  EXPECT_THAT(Error(), HasSubstr("raw_input_contents must have one entry for each of the 1 inputs, got 2"));
  message_.clear_raw_input_contents();
  EXPECT_THAT(Error(), HasSubstr("bytes_contents"));
}

TEST_F(InferRequestTest, AnotherModelOrVersionIsNotFound) {
  AddText("text_input", "ab");
  message_.set_model_version("1");
  EXPECT_TRUE(Parse().ok());
  message_.set_model_version("2");
  EXPECT_EQ(Parse().status().code(), absl::StatusCode::kNotFound);
  message_.set_model_version("");
  message_.set_model_name("words");
  EXPECT_EQ(Parse().status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace quire::kserve
