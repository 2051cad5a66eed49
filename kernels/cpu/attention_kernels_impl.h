// What attention has in common for all types of K and V, in terms of Lanes, 16 floats in the registers of one
// instruction set. Included by the files that are compiled for one, after their lanes. Everything here and in the
// attention_*_impl.h beside it is in an anonymous namespace and calls no library function, so that code compiled for a
// wide instruction set can never be linked in place of generic code.
//
// Reduction orders, which are part of Ops' arithmetic contract: sums over tokens go by lane (position modulo 16), then
// over lanes as a tree. Scores and weighted V have theirs in the other files.
#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/cpu/attention_kernels.h"
#include "kernels/cpu/lanes_sum.h"

namespace quire {
namespace {

using Floats = Lanes::Floats;

// Into the second cache level: the first has too few outstanding misses to keep memory busy.
inline void Fetch(const void* p) { __builtin_prefetch(p, /*rw=*/0, /*locality=*/2); }

// 2^x for x <= 0, to about one unit in the last place; 0 below 2^-100, which spares denormal products. NaN stays NaN.
inline Floats Exp2(Floats x) {
  const Lanes::Ints n = Lanes::Round(x);
  const Floats f = Lanes::Fma(Lanes::ToFloats(n), Lanes::Broadcast(-1), x);
  // Minimax polynomial of 2^f for |f| <= 1/2, relative error 2e-9 before rounding.
  Floats y = Lanes::Broadcast(1.5345811e-4f);
  y = Lanes::Fma(y, f, Lanes::Broadcast(1.3399931e-3f));
  y = Lanes::Fma(y, f, Lanes::Broadcast(9.618489e-3f));
  y = Lanes::Fma(y, f, Lanes::Broadcast(5.5503286e-2f));
  y = Lanes::Fma(y, f, Lanes::Broadcast(0.24022646f));
  y = Lanes::Fma(y, f, Lanes::Broadcast(0.6931472f));
  y = Lanes::Fma(y, f, Lanes::Broadcast(1));
  const Lanes::Ints exponent = Lanes::AddInt(n, Lanes::BroadcastInt(127));
  return Lanes::ZeroWhereLess(x, -100, Lanes::Mul(y, Lanes::AsFloats(Lanes::ShiftLeft<23>(exponent))));
}

inline float Exp2Scalar(float x) {
  float lanes[16];
  Lanes::Store(Exp2(Lanes::Broadcast(x)), lanes);
  return lanes[0];
}

// Makes weights of scores, 2^(score - max), for tokens [begin, end); 0 for others of the same blocks.
inline void Softmax(int begin, int end, float* scores, AttentionState* state) {
  const int first = begin / kKvBlockTokens * kKvBlockTokens;
  const int last = (end + kKvBlockTokens - 1) / kKvBlockTokens * kKvBlockTokens;
  for (int i = first; i < begin; ++i) scores[i] = -INFINITY;
  for (int i = end; i < last; ++i) scores[i] = -INFINITY;

  float lanes[16];
  Floats max = Lanes::Broadcast(-INFINITY);
  for (int i = first; i < last; i += kKvBlockTokens) max = Lanes::Max(Lanes::Load(scores + i), max);
  Lanes::Store(max, lanes);
  float max_score = lanes[0];
  for (int i = 1; i < 16; ++i) max_score = lanes[i] > max_score ? lanes[i] : max_score;

  const Floats shift = Lanes::Broadcast(-max_score);
  Floats sum = Lanes::Broadcast(0);
  for (int i = first; i < last; i += kKvBlockTokens) {
    const Floats weights = Exp2(Lanes::Add(Lanes::Load(scores + i), shift));
    sum = Lanes::Add(sum, weights);
    Lanes::Store(weights, scores + i);
  }
  state->max_score = max_score;
  state->sum = SumOfLanes(sum);
}

inline void Merge(const AttentionState& next, int head_dim, AttentionState* state) {
  const float max_score = next.max_score > state->max_score ? next.max_score : state->max_score;
  const float scale = Exp2Scalar(state->max_score - max_score);
  const float next_scale = Exp2Scalar(next.max_score - max_score);
  for (int dim = 0; dim < head_dim; dim += 16) {
    const Floats scaled = Lanes::Mul(Lanes::Load(state->weighted + dim), Lanes::Broadcast(scale));
    const Floats merged = Lanes::Fma(Lanes::Load(next.weighted + dim), Lanes::Broadcast(next_scale), scaled);
    Lanes::Store(merged, state->weighted + dim);
  }
  state->sum = state->sum * scale + next.sum * next_scale;
  state->max_score = max_score;
}

inline void Finish(const AttentionState& state, int head_dim, float* output) {
  const Floats factor = Lanes::Broadcast(1 / state.sum);
  for (int dim = 0; dim < head_dim; dim += 16) {
    Lanes::Store(Lanes::Mul(Lanes::Load(state.weighted + dim), factor), output + dim);
  }
}

}  // namespace
}  // namespace quire
