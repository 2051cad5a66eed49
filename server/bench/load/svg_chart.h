// Charts as inline SVG, to be coloured by the style sheet of the page around them (classes axis, grid, mark, and s0, s1
// ... for the series).
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace quire {

struct ChartPoint {
  double x = 0;
  double y = 0;
};

struct ChartSeries {
  enum class Style { kLine, kSteps, kDots };
  Style style = Style::kLine;
  std::vector<ChartPoint> points;  // Ascending in x.
};

// Both axes begin at 0.
struct Chart {
  std::string title;
  std::string x_label;
  std::string y_label;
  std::vector<ChartSeries> series = {};
  std::optional<double> x_max = {};   // Default: the largest value.
  std::optional<double> y_max = {};   // Default: a little above the largest value.
  std::optional<double> x_mark = {};  // A vertical line, for a limit.
};

std::string ToSvg(const Chart& chart);

// `text` with what HTML and SVG take for markup made harmless.
std::string EscapeHtml(const std::string& text);

}  // namespace quire
