#include "tests/bench/gpu/gpu_report.h"

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace quire {
namespace {

struct PublishedThroughput {
  Lengths lengths;
  double tokens_per_second;
};

// TensorRT-LLM's own figures for its Llama-3 8B in fp8 on one H200.
constexpr PublishedThroughput kTensorRt[] = {
    {{128, 128}, 27911}, {{128, 2048}, 26221}, {{1000, 1000}, 17744}, {{2048, 2048}, 12194}};

std::string PublishedFor(const Lengths& lengths) {
  for (const PublishedThroughput& published : kTensorRt) {
    if (published.lengths.input == lengths.input && published.lengths.output == lengths.output) {
      return absl::StrFormat("%.0f", published.tokens_per_second);
    }
  }
  return "";
}

std::string ThroughputTable(const GpuReport& report) {
  std::string text =
      "## The engine, random weights\n\n"
      "Output tokens a second, bf16 KV cache; all requests are there from the beginning. The last column is what "
      "TensorRT-LLM has published for itself: fp8 weights on one H200, which this GPU need not be.\n\n"
      "| weights | input / output tokens | requests | room in the KV cache, tokens | steps, as graphs | s | tokens/s | "
      "TensorRT-LLM, H200, fp8 |\n|---|---|---|---|---|---|---|---|\n";
  for (const ThroughputTiming& t : report.throughput) {
    absl::StrAppendFormat(&text, "| %s | %d / %d | %d | %d | %d, %d | %.2f | %.0f | %s |\n", NameOf(t.weights),
                          t.lengths.input, t.lengths.output, t.num_sequences, t.cached_tokens, t.counts.steps,
                          t.counts.graph_launches, t.seconds, t.tokens_per_second, PublishedFor(t.lengths));
  }
  return text;
}

std::string AttentionTable(const GpuReport& report) {
  std::string text =
      "## Attention of one layer\n\n"
      "GB/s of K and V, each read once; a multiply-add is two operations.\n\n"
      "| KV cache | context | batch | new tokens of each | us | GB/s | TFLOPS |\n|---|---|---|---|---|---|---|\n";
  for (const AttentionTiming& t : report.attention) {
    absl::StrAppendFormat(&text, "| %s | %d | %d | %d | %.1f | %.0f | %.1f |\n", NameOf(t.kv), t.context, t.batch,
                          t.tokens, 1e6 * t.seconds, t.gigabytes_per_second, t.teraflops);
  }
  return text;
}

std::string MatMulTable(const GpuReport& report) {
  std::string text =
      "## Matrix products\n\n"
      "GB/s of weights, launched one by one and replayed as a graph; a multiply-add is two operations.\n\n"
      "| weights | matrix | rows | us | GB/s | graph: us | GB/s | TFLOPS |\n|---|---|---|---|---|---|---|---|\n";
  for (const MatMulTiming& t : report.matmul) {
    absl::StrAppendFormat(&text, "| %s | %s | %d | %.1f | %.0f | %.1f | %.0f | %.1f |\n", NameOf(t.weights), t.matrix,
                          t.rows, 1e6 * t.seconds, t.gigabytes_per_second, 1e6 * t.graph_seconds,
                          t.graph_gigabytes_per_second, t.teraflops);
  }
  return text;
}

}  // namespace

std::string ToJson(const GpuReport& report) {
  nlohmann::json json = {{"gpu", report.gpu}, {"model", report.model}, {"notes", report.notes}};
  for (const AttentionTiming& t : report.attention) {
    json["attention"].push_back({{"kv", NameOf(t.kv)},
                                 {"batch", t.batch},
                                 {"context", t.context},
                                 {"tokens", t.tokens},
                                 {"seconds", t.seconds},
                                 {"gb_per_s", t.gigabytes_per_second},
                                 {"tflops", t.teraflops}});
  }
  for (const MatMulTiming& t : report.matmul) {
    json["matmul"].push_back({{"weights", NameOf(t.weights)},
                              {"matrix", t.matrix},
                              {"rows", t.rows},
                              {"seconds", t.seconds},
                              {"gb_per_s", t.gigabytes_per_second},
                              {"graph_seconds", t.graph_seconds},
                              {"graph_gb_per_s", t.graph_gigabytes_per_second},
                              {"tflops", t.teraflops}});
  }
  for (const ThroughputTiming& t : report.throughput) {
    json["throughput"].push_back({{"weights", NameOf(t.weights)},
                                  {"input_tokens", t.lengths.input},
                                  {"output_tokens", t.lengths.output},
                                  {"sequences", t.num_sequences},
                                  {"kv_cache_tokens", t.cached_tokens},
                                  {"steps", t.counts.steps},
                                  {"graph_launches", t.counts.graph_launches},
                                  {"graphs_recorded", t.counts.graphs_recorded},
                                  {"seconds", t.seconds},
                                  {"output_tokens_per_s", t.tokens_per_second}});
  }
  return json.dump(1) + "\n";
}

std::string ToMarkdown(const GpuReport& report) {
  std::string text = absl::StrCat("# ", report.gpu, "\n\nShapes of ", report.model, ".\n\n");
  for (const std::string& note : report.notes) absl::StrAppend(&text, "- ", note, "\n");
  absl::StrAppend(&text, "\n", ThroughputTable(report), "\n", AttentionTable(report), "\n", MatMulTable(report));
  return text;
}

}  // namespace quire
