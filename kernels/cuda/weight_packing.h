// Repacks a model file's weights into the panels of kernels/cuda/weight_format.h, on the host.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/cuda/weight_format.h"
#include "kernels/tensor_view.h"

namespace quire {

// Where the rows of panels come from: `parts` stacked along rows, regardless of where one ends and the next begins; or,
// gated, a gate and its up-projection of one shape, whose panels alternate (panel 2i is rows [16i, 16i + 16) of the
// gate, panel 2i + 1 the same rows of up). Does not own the parts.
struct PanelSource {
  std::span<const RawMatrix> parts;
  bool gated = false;

  int64_t cols() const { return parts[0].cols; }
  int64_t num_panels() const;
};

// Fills `out`, PanelBytesOf(format, source.cols()) bytes, and, in kFloat8, the kPanelRows `scales`. REQUIRES: format is
// that of every part's dtype, or kBFloat16 or kFloat8, to which anything can be rounded.
void PackPanel(const PanelSource& source, WeightFormat format, int64_t panel, std::byte* out, float* scales);

}  // namespace quire
