// What bodies of HTTP requests are read against: a model whose tokens are letters, and the checks of what it can do.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>

#include "server/request_checks.h"
#include "server/status_details.h"
#include "tests/server/letter_tokenizer.h"

namespace quire {

class HttpRequestFixture : public ::testing::Test {
 protected:
  HttpRequestFixture() {
    model_.name = "letters";
    model_.max_model_len = 100;
    model_.tokenizer = &tokenizer_;
    checks_.emplace(model_);
  }

  // That a refusal is about `field`, and that its message begins with it.
  static void ExpectComplaintAbout(const std::string& field, const absl::Status& status) {
    EXPECT_EQ(FieldOf(status), field) << status;
    EXPECT_THAT(std::string(status.message()), ::testing::StartsWith(field + " "));
  }

  LetterTokenizer tokenizer_;
  ServedModel model_;
  std::optional<RequestChecks> checks_;
};

}  // namespace quire
