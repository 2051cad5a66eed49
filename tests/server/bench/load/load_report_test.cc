#include "server/bench/load/load_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <nlohmann/json.hpp>

#include "server/bench/load/html_report.h"

namespace quire {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

LoadReport SmallReport() {
  LoadReport report;
  report.server = "127.0.0.1:50051";
  report.model = "tiny";
  report.request_rate = std::numeric_limits<double>::infinity();
  report.max_concurrency = 4;
  report.num_prompts = 3;
  report.goodput.ttft_ms = 150;
  report.settings = {{"--seed", "1"}};
  for (int i = 0; i < 2; ++i) {
    LoadRecord record;
    record.sent_s = record.intended_s = i;
    record.message_s = {i + 0.1 * (i + 1), i + 0.5};
    record.end_s = i + 0.5;
    record.output_tokens = 2;
    record.usage = {.prompt_tokens = 7, .cached_tokens = 0, .completion_tokens = 2};
    report.run.records.push_back(record);
  }
  LoadRecord failed;
  failed.error_kind = "HTTP 500";
  failed.error_message = "<script>alert(1)</script> \"\xff\"";
  report.run.records.push_back(failed);
  report.run.duration_s = 2;
  report.result = Evaluate(report.run, report.goodput);
  return report;
}

TEST(LoadReport, HasTheKeysOfVllmBenchServe) {
  const nlohmann::json json = ToJson(SmallReport(), /*detailed=*/true);
  for (const char* key : {"date",
                          "backend",
                          "model_id",
                          "num_prompts",
                          "request_rate",
                          "burstiness",
                          "max_concurrency",
                          "duration",
                          "completed",
                          "failed",
                          "total_input_tokens",
                          "total_output_tokens",
                          "request_throughput",
                          "request_goodput",
                          "output_throughput",
                          "total_token_throughput",
                          "max_output_tokens_per_s",
                          "max_concurrent_requests",
                          "input_lens",
                          "output_lens",
                          "ttfts",
                          "itls",
                          "errors"}) {
    EXPECT_TRUE(json.contains(key)) << key;
  }
  for (const char* statistic : {"mean", "median", "std", "p90", "p95", "p99"}) {
    for (const char* metric : {"ttft", "tpot", "itl", "e2el"}) {
      EXPECT_TRUE(json[std::string(statistic) + "_" + metric + "_ms"].is_number()) << statistic << metric;
    }
  }
  EXPECT_EQ(json["completed"], 2);
  EXPECT_EQ(json["total_input_tokens"], 14);
  EXPECT_EQ(json["request_rate"], "inf");
  EXPECT_DOUBLE_EQ(json["request_throughput"].get<double>(), 1);
  EXPECT_DOUBLE_EQ(json["request_goodput"].get<double>(), 0.5);
  EXPECT_DOUBLE_EQ(json["total_token_throughput"].get<double>(), 9);
  EXPECT_NEAR(json["mean_ttft_ms"].get<double>(), 150, 1e-6);
  EXPECT_EQ(json["errors_by_kind"]["HTTP 500"], 1);
  ASSERT_EQ(json["ttfts"].size(), 3u);
  EXPECT_NEAR(json["ttfts"][1].get<double>(), 0.2, 1e-9);
  EXPECT_NEAR(json["itls"][0][0].get<double>(), 0.4, 1e-9);
  EXPECT_FALSE(ToJson(SmallReport(), /*detailed=*/false).contains("ttfts"));
}

TEST(LoadReport, LeavesGoodputOpenWithoutLimits) {
  LoadReport report = SmallReport();
  report.goodput = {};
  EXPECT_TRUE(ToJson(report, false)["request_goodput"].is_null());
  EXPECT_THAT(ToTable(report), Not(HasSubstr("limits")));
}

TEST(LoadReport, ShowsAPersonTheFiguresAndTheErrors) {
  EXPECT_THAT(ToTable(SmallReport()), AllOf(HasSubstr("2 requests"), HasSubstr("1 failed"), HasSubstr("HTTP 500"),
                                            HasSubstr("time to first token"), HasSubstr("lag")));
}

TEST(HtmlReport, RefersToNothingOutsideAndRunsNothing) {
  const std::string html = ToHtml(SmallReport());
  for (const char* outside :
       {"http://", "https://", "src=", "href=", "url(", "@import", "<script", "<link", "<iframe"}) {
    EXPECT_THAT(html, Not(HasSubstr(outside)));
  }
}

TEST(HtmlReport, ShowsWhatAServerSaidAsText) {
  EXPECT_THAT(ToHtml(SmallReport()), HasSubstr("&lt;script&gt;alert(1)&lt;/script&gt;"));
}

TEST(HtmlReport, HasAChartForEachFigure) {
  const std::string html = ToHtml(SmallReport());
  size_t charts = 0;
  for (size_t at = html.find("<svg"); at != std::string::npos; at = html.find("<svg", at + 1)) ++charts;
  EXPECT_EQ(charts, 7u);
  EXPECT_THAT(html, AllOf(Not(HasSubstr("nan")), Not(HasSubstr("=\"inf"))));
}

TEST(HtmlReport, OfNothingIsStillAPage) { EXPECT_THAT(ToHtml({}), AllOf(HasSubstr("</html>"), Not(HasSubstr("nan")))); }

TEST(HtmlReport, StaysSmallHoweverLongTheRun) {
  LoadReport report = SmallReport();
  const LoadRecord record = report.run.records.front();
  for (int i = 0; i < 50000; ++i) report.run.records.push_back(record);
  report.result = Evaluate(report.run, report.goodput);
  EXPECT_LT(ToHtml(report).size(), 1u << 20);
}

}  // namespace
}  // namespace quire
