// Chooses tokens from logits on the device, as kernels/sampling.h describes it. The choice for a row is a function of
// its logits and of what it asks for alone, to the bit: not of the other rows, of its place among them, or of how
// blocks are scheduled. Rows are never sorted.
//
// How. A first kernel reads each row once, with a warp for every segment of 256 logits, and notes of each segment its
// maximum, its sum of exponentials, and its weight at the row's temperature. That is all that greedy rows and
// log-probabilities need. A second kernel, with one block for a row, filters and draws: it finds where min_p, top_k and
// top_p cut by radix selection over the bits of the floats, reads only segments that reach down to the cut, and draws a
// segment, then a token in it. A row without filters reads one more segment; a row with top_p alone reads, five times,
// the segments that its nucleus may reach.
//
// Precision. The weight exp((logit - maximum) / temperature) is computed in float32: its relative error is about 2e-7,
// and 1.2e-7 more for every nat of distance from the maximum, from rounding the exponent. Weights are added up as
// integers, in units of 2^-44 of the likeliest token's: such sums are exact and the same in any order, and what is lost
// by rounding weights down to whole units is at most 2^-26 of the total. Where neither min_p nor top_k is asked for,
// the weights of a segment are added up in float32 in a fixed tree (relative error below 5e-7). All in all a border of
// top_p or of a draw may be off by about 1e-6 in probability. min_p and top_k cut exactly where the CPU does.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cuda/sample_plan.h"
#include "kernels/cuda/stream.h"
#include "kernels/sampling.h"

namespace quire {

// All in device memory.
struct CudaSampleArgs {
  const float* logits = nullptr;    // [rows of logits, vocab_size]
  int64_t logits_stride = 0;        // From one row to the next.
  int vocab_size = 0;               // Of the plan.
  const std::byte* plan = nullptr;  // SamplePlan::bytes(), aligned to 16.
  int num_rows = 0;                 // Of the plan.
  std::byte* scratch = nullptr;     // CudaSampleScratchBytes, aligned to 16.
  int32_t* tokens = nullptr;        // [num_rows]: the tokens of `sampled` once more, for an embedding to read.
  SampledRow* sampled = nullptr;    // [num_rows]
};

int64_t CudaSampleScratchBytes(int num_rows, int vocab_size);

// Puts the work on the stream; what fails is kept for cudaGetLastError. REQUIRES: num_rows <= 65,535.
void SampleOnCuda(const CudaSampleArgs& args, CudaStream stream);

}  // namespace quire
