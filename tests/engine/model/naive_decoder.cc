#include "tests/engine/model/naive_decoder.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "kernels/dequantize.h"

namespace quire {
namespace {

using Vector = std::vector<double>;
using Rows = std::vector<Vector>;

Rows Load(const Checkpoint& checkpoint, const std::string& name) {
  const RawMatrix matrix = checkpoint.GetTensor(name).value();
  Rows rows;
  std::vector<float> row(matrix.cols);
  for (int64_t i = 0; i < matrix.rows; ++i) {
    DequantizeRow(matrix.dtype, matrix.bytes.data() + i * (matrix.bytes.size() / matrix.rows), row);
    rows.emplace_back(row.begin(), row.end());
  }
  return rows;
}

// An empty vector where the file has no such tensor.
Vector LoadOptional(const Checkpoint& checkpoint, const std::string& name) {
  return checkpoint.HasTensor(name) ? Load(checkpoint, name)[0] : Vector();
}

Vector Norm(std::span<const double> x, const Vector& weight) {
  Vector y(x.begin(), x.end());
  if (weight.empty()) return y;
  double sum = 0;
  for (const double value : x) sum += value * value;
  for (size_t i = 0; i < y.size(); ++i) y[i] *= weight[i] / std::sqrt(sum / static_cast<double>(x.size()) + 1e-5);
  return y;
}

Vector Multiply(const Rows& weights, const Vector& x, const Vector& bias = {}) {
  Vector y;
  for (size_t i = 0; i < weights.size(); ++i) {
    double sum = bias.empty() ? 0 : bias[i];
    for (size_t j = 0; j < x.size(); ++j) sum += weights[i][j] * x[j];
    y.push_back(sum);
  }
  return y;
}

void AddTo(Vector& x, const Vector& y) {
  for (size_t i = 0; i < x.size(); ++i) x[i] += y[i];
}

class NaiveLayer {
 public:
  NaiveLayer(const Checkpoint& checkpoint, const NaiveModel& model, int index)
      : checkpoint_(checkpoint), model_(model), prefix_("blk." + std::to_string(index) + ".") {}

  void Apply(Rows& hidden) const {
    Attention(hidden);
    FeedForward(hidden);
  }

 private:
  Rows Weight(const char* name) const { return Load(checkpoint_, prefix_ + name); }
  Vector Optional(const char* name) const { return LoadOptional(checkpoint_, prefix_ + name); }

  // Projects, normalises and rotates every head of Q or K.
  Rows Project(const Rows& input, const char* name, const char* norm_name) const {
    const Rows weights = Weight((std::string(name) + ".weight").c_str());
    const Vector bias = Optional((std::string(name) + ".bias").c_str());
    const Vector norm = norm_name == nullptr ? Vector() : Optional(norm_name);
    Rows output;
    for (size_t position = 0; position < input.size(); ++position) {
      Vector row = Multiply(weights, input[position], bias);
      for (size_t head = 0; norm_name != nullptr && head < row.size(); head += model_.head_dim) {
        Vector x = Norm(std::span(row).subspan(head, model_.head_dim), norm);
        Rotate(x, static_cast<double>(position));
        std::copy(x.begin(), x.end(), row.begin() + static_cast<std::ptrdiff_t>(head));
      }
      output.push_back(std::move(row));
    }
    return output;
  }

  void Rotate(Vector& x, double position) const {
    const Vector factors = LoadOptional(checkpoint_, "rope_freqs.weight");
    for (size_t i = 0; i < x.size(); i += 2) {
      const double frequency = std::pow(model_.rope_base, -static_cast<double>(i) / static_cast<double>(x.size()));
      const double factor = model_.rope_linear_factor * (factors.empty() ? 1 : factors[i / 2]);
      const double angle = position * frequency / factor;
      const double a = x[i];
      const double b = x[i + 1];
      x[i] = a * std::cos(angle) - b * std::sin(angle);
      x[i + 1] = a * std::sin(angle) + b * std::cos(angle);
    }
  }

  // What one query head of one token takes from the values.
  Vector Attend(const Rows& q, const Rows& k, const Rows& v, int position, int head) const {
    const int kv_head = head / (model_.num_heads / model_.num_kv_heads);
    const int first = model_.sliding_window == 0 ? 0 : std::max(0, position - model_.sliding_window + 1);
    Vector output(model_.head_dim, 0);
    double total = 0;
    for (int seen = first; seen <= position; ++seen) {
      double score = 0;
      for (int d = 0; d < model_.head_dim; ++d) {
        score += q[position][head * model_.head_dim + d] * k[seen][kv_head * model_.head_dim + d];
      }
      const double weight = std::exp(score / std::sqrt(model_.head_dim));
      total += weight;
      for (int d = 0; d < model_.head_dim; ++d) output[d] += weight * v[seen][kv_head * model_.head_dim + d];
    }
    for (double& value : output) value /= total;
    return output;
  }

  void Attention(Rows& hidden) const {
    Rows input;
    for (const Vector& row : hidden) input.push_back(Norm(row, Weight("attn_norm.weight")[0]));
    const Rows q = Project(input, "attn_q", "attn_q_norm.weight");
    const Rows k = Project(input, "attn_k", "attn_k_norm.weight");
    const Rows v = Project(input, "attn_v", nullptr);
    const Rows output_weights = Weight("attn_output.weight");
    const Vector output_bias = Optional("attn_output.bias");
    for (size_t position = 0; position < hidden.size(); ++position) {
      Vector heads;
      for (int head = 0; head < model_.num_heads; ++head) {
        const Vector output = Attend(q, k, v, static_cast<int>(position), head);
        heads.insert(heads.end(), output.begin(), output.end());
      }
      AddTo(hidden[position], Multiply(output_weights, heads, output_bias));
    }
  }

  void FeedForward(Rows& hidden) const {
    const Rows gate_weights = Weight("ffn_gate.weight");
    const Rows up_weights = Weight("ffn_up.weight");
    const Rows down_weights = Weight("ffn_down.weight");
    const Vector norm = Weight("ffn_norm.weight")[0];
    for (Vector& row : hidden) {
      const Vector input = Norm(row, norm);
      Vector gate = Multiply(gate_weights, input);
      const Vector up = Multiply(up_weights, input);
      for (size_t i = 0; i < gate.size(); ++i) gate[i] *= up[i] / (1 + std::exp(-gate[i]));
      AddTo(row, Multiply(down_weights, gate));
    }
  }

  const Checkpoint& checkpoint_;
  const NaiveModel& model_;
  const std::string prefix_;
};

}  // namespace

Rows NaiveLogits(const Checkpoint& checkpoint, const NaiveModel& model, std::span<const TokenId> tokens) {
  const Rows embedding = Load(checkpoint, "token_embd.weight");
  Rows hidden;
  for (const TokenId token : tokens) hidden.push_back(embedding[token]);
  for (int i = 0; i < model.num_layers; ++i) NaiveLayer(checkpoint, model, i).Apply(hidden);
  const Rows head = checkpoint.HasTensor("output.weight") ? Load(checkpoint, "output.weight") : embedding;
  const Vector norm = Load(checkpoint, "output_norm.weight")[0];
  Rows logits;
  for (const Vector& row : hidden) logits.push_back(Multiply(head, Norm(row, norm)));
  return logits;
}

}  // namespace quire
