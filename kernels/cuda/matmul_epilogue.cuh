// What becomes of a sum of products: scales, bias, activation, and the place in the output.
#pragma once

#include <cuda_runtime.h>

#include <cmath>

#include "kernels/cuda/matmul_kernel.h"

namespace quire {

// x / (1 + e^-x), and 0.5 x (1 + tanh(z)) = x / (1 + e^-2z) with z = sqrt(2 / pi) (x + 0.044715 x^3).
__device__ __forceinline__ float Activate(Activation activation, float x) {
  const float argument = activation == Activation::kSilu ? x : x * fmaf(x * x, 0.044715f, 1.0f) * (2 * 0.797884561f);
  return x / (1 + expf(-argument));
}

// The sum of float8 codes' products as a product of numbers. `channel` is a row of the panels.
__device__ __forceinline__ float Scaled(const MultiplyArgs& args, int token, int channel, float sum) {
  return args.channel_scales == nullptr ? sum : sum * (args.token_scales[token] * args.channel_scales[channel]);
}

__device__ __forceinline__ void StoreProduct(const MultiplyArgs& args, int token, int channel, float value) {
  value = Scaled(args, token, channel, value);
  if (args.bias != nullptr) value += args.bias[channel];
  float* const output = args.output + token * args.output_stride + channel;
  *output = args.epilogue == Epilogue::kAdd ? *output + value : value;
}

__device__ __forceinline__ void StoreGatedProduct(const MultiplyArgs& args, int token, int channel, float gate,
                                                  float up) {
  const int row_of_gate = channel / kPanelRows * 2 * kPanelRows + channel % kPanelRows;
  gate = Scaled(args, token, row_of_gate, gate);
  up = Scaled(args, token, row_of_gate + kPanelRows, up);
  if (args.bias != nullptr) {
    gate += args.bias[channel];
    up += args.up_bias[channel];
  }
  args.output[token * args.output_stride + channel] = Activate(args.activation, gate) * up;
}

}  // namespace quire
