#include "server/bench/load/svg_chart.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"

namespace quire {
namespace {

// In the units of the view box.
constexpr double kWidth = 520;
constexpr double kHeight = 250;
constexpr double kLeft = 58;
constexpr double kRight = 14;
constexpr double kTop = 30;
constexpr double kBottom = 40;
constexpr int kMaxTicks = 6;

// The smallest step of 1, 2, 2.5 or 5 times a power of ten that gives at most kMaxTicks ticks up to `max`.
double TickStep(double max) {
  const double rough = max / kMaxTicks;
  const double power = std::pow(10, std::floor(std::log10(rough)));
  for (const double factor : {1.0, 2.0, 2.5, 5.0}) {
    if (factor * power >= rough) return factor * power;
  }
  return 10 * power;
}

struct Axis {
  explicit Axis(double max) : step(TickStep(max > 0 ? max : 1)), end(max > 0 ? max : 1) {}
  int num_ticks() const { return static_cast<int>(end / step + 1e-9) + 1; }
  double step;
  double end;
};

class SvgChart {
 public:
  explicit SvgChart(const Chart& chart) : chart_(chart), x_(MaxX()), y_(MaxY()) {}

  std::string Draw() {
    absl::StrAppendFormat(&out_, "<svg viewBox=\"0 0 %g %g\" role=\"img\"><title>%s</title>\n", kWidth, kHeight,
                          EscapeHtml(chart_.title));
    Text(kLeft, 16, "title", "start", chart_.title);
    DrawAxes();
    if (chart_.x_mark && *chart_.x_mark <= x_.end) {
      Line(AtX(*chart_.x_mark), AtY(0), AtX(*chart_.x_mark), AtY(y_.end), "mark");
    }
    for (size_t i = 0; i < chart_.series.size(); ++i) DrawSeries(chart_.series[i], i);
    absl::StrAppend(&out_, "</svg>\n");
    return std::move(out_);
  }

 private:
  double MaxX() const {
    if (chart_.x_max) return *chart_.x_max;
    double max = 0;
    for (const ChartSeries& series : chart_.series) {
      for (const ChartPoint& point : series.points) max = std::max(max, point.x);
    }
    return max;
  }

  double MaxY() const {
    if (chart_.y_max) return *chart_.y_max;
    double max = 0;
    for (const ChartSeries& series : chart_.series) {
      for (const ChartPoint& point : series.points) max = std::max(max, point.y);
    }
    return max * 1.05;
  }

  double AtX(double x) const { return kLeft + x / x_.end * (kWidth - kLeft - kRight); }
  double AtY(double y) const { return kHeight - kBottom - y / y_.end * (kHeight - kTop - kBottom); }

  void Line(double x1, double y1, double x2, double y2, const char* style) {
    absl::StrAppendFormat(&out_, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" class=\"%s\"/>\n", x1, y1, x2,
                          y2, style);
  }

  void Text(double x, double y, const char* style, const char* anchor, const std::string& text) {
    absl::StrAppendFormat(&out_, "<text x=\"%.1f\" y=\"%.1f\" class=\"%s\" text-anchor=\"%s\">%s</text>\n", x, y, style,
                          anchor, EscapeHtml(text));
  }

  void DrawAxes() {
    for (int i = 0; i < y_.num_ticks(); ++i) {
      const double y = i * y_.step;
      Line(kLeft, AtY(y), kWidth - kRight, AtY(y), i == 0 ? "axis" : "grid");
      Text(kLeft - 6, AtY(y) + 4, "tick", "end", absl::StrFormat("%g", y));
    }
    for (int i = 0; i < x_.num_ticks(); ++i) {
      const double x = i * x_.step;
      Text(AtX(x), kHeight - kBottom + 15, "tick", "middle", absl::StrFormat("%g", x));
    }
    Text((kLeft + kWidth - kRight) / 2, kHeight - 6, "label", "middle", chart_.x_label);
    Text(kWidth - kRight, 16, "label", "end", chart_.y_label);
  }

  void DrawSeries(const ChartSeries& series, size_t index) {
    if (series.style == ChartSeries::Style::kDots) {
      absl::StrAppendFormat(&out_, "<g class=\"dots s%d\">\n", index);
      for (const ChartPoint& point : series.points) {
        absl::StrAppendFormat(&out_, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"2.5\"/>\n", AtX(point.x), AtY(point.y));
      }
      absl::StrAppend(&out_, "</g>\n");
      return;
    }
    absl::StrAppendFormat(&out_, "<path class=\"line s%d\" d=\"", index);
    for (size_t i = 0; i < series.points.size(); ++i) {
      const ChartPoint& point = series.points[i];
      if (i > 0 && series.style == ChartSeries::Style::kSteps) absl::StrAppendFormat(&out_, "H%.1f", AtX(point.x));
      absl::StrAppendFormat(&out_, "%s%.1f %.1f", i == 0 ? "M" : "L", AtX(point.x), AtY(point.y));
    }
    absl::StrAppend(&out_, "\"/>\n");
  }

  const Chart& chart_;
  const Axis x_;
  const Axis y_;
  std::string out_;
};

}  // namespace

std::string ToSvg(const Chart& chart) { return SvgChart(chart).Draw(); }

std::string EscapeHtml(const std::string& text) {
  return absl::StrReplaceAll(text, {{"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}, {"\"", "&quot;"}, {"'", "&#39;"}});
}

}  // namespace quire
