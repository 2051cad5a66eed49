#include "engine/model/weight_loader.h"

#include <algorithm>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/types/annotate.h"
#include "engine/types/status_macros.h"
#include "kernels/dequantize.h"

namespace quire {
namespace {

absl::StatusOr<RawMatrix> FindMatrix(const Checkpoint& checkpoint, std::string_view name, int64_t rows, int64_t cols) {
  const absl::StatusOr<RawMatrix> matrix = checkpoint.GetTensor(name);
  // A tensor that is missing is a fault of the file.
  if (!matrix.ok()) return absl::InvalidArgumentError(matrix.status().message());
  if (matrix->rows != rows || matrix->cols != cols) {
    return absl::InvalidArgumentError(absl::StrCat("tensor '", AbslView(name), "' must have ", rows, " rows of ", cols,
                                                   ", got ", matrix->rows, " rows of ", matrix->cols));
  }
  return matrix;
}

class WeightLoader {
 public:
  WeightLoader(const Checkpoint& checkpoint, const ModelConfig& config, const TensorNames& names, Ops& ops,
               WeightPrecision precision)
      : checkpoint_(checkpoint), config_(config), names_(names), ops_(ops), precision_(precision) {}

  absl::Status LoadOuter(Weights& weights);
  absl::Status LoadLayer(int index, LayerWeights& layer);
  absl::Status CheckNothingIsLeft() const;

 private:
  absl::Status LoadAttention(LayerWeights& layer);
  absl::Status LoadFeedForward(LayerWeights& layer);
  absl::Status LoadQkvBias(LayerWeights& layer);

  // These take a name without the prefix of the layer, if one is being loaded.
  std::string FullName(std::string_view name) const { return absl::StrCat(prefix_, AbslView(name)); }
  bool Has(std::string_view name) const { return !name.empty() && checkpoint_.HasTensor(FullName(name)); }
  absl::StatusOr<RawMatrix> Matrix(std::string_view name, int64_t rows, int64_t cols);
  absl::StatusOr<std::unique_ptr<PackedMatrix>> Packed(std::string_view name, int64_t rows, int64_t cols,
                                                       WeightPrecision precision);
  absl::StatusOr<std::vector<float>> HostVector(std::string_view name, int64_t size);
  absl::StatusOr<std::unique_ptr<Buffer>> Vector(std::string_view name, int64_t size);
  absl::Status Located(const absl::Status& status, std::string_view name) const;

  const Checkpoint& checkpoint_;
  const ModelConfig& config_;
  const TensorNames& names_;
  Ops& ops_;
  const WeightPrecision precision_;  // Of layers.
  std::string prefix_;
  std::set<std::string> used_;
};

absl::StatusOr<RawMatrix> WeightLoader::Matrix(std::string_view name, int64_t rows, int64_t cols) {
  const std::string full_name = FullName(name);
  used_.insert(full_name);
  return FindMatrix(checkpoint_, full_name, rows, cols);
}

absl::Status WeightLoader::Located(const absl::Status& status, std::string_view name) const {
  return Annotate(status, absl::StrCat("tensor '", FullName(name), "'"));
}

absl::StatusOr<std::unique_ptr<PackedMatrix>> WeightLoader::Packed(std::string_view name, int64_t rows, int64_t cols,
                                                                   WeightPrecision precision) {
  ASSIGN_OR_RETURN(const RawMatrix matrix, Matrix(name, rows, cols));
  auto packed = ops_.Pack({&matrix, 1}, precision);
  if (!packed.ok()) return Located(packed.status(), name);
  return packed;
}

absl::StatusOr<std::vector<float>> WeightLoader::HostVector(std::string_view name, int64_t size) {
  const std::string full_name = FullName(name);
  used_.insert(full_name);
  return LoadVector(checkpoint_, full_name, size);
}

absl::StatusOr<std::unique_ptr<Buffer>> WeightLoader::Vector(std::string_view name, int64_t size) {
  ASSIGN_OR_RETURN(const std::vector<float> values, HostVector(name, size));
  auto buffer = ops_.Upload(values);
  if (!buffer.ok()) return Located(buffer.status(), name);
  return buffer;
}

absl::Status WeightLoader::LoadQkvBias(LayerWeights& layer) {
  const std::pair<std::string_view, int> parts[] = {{names_.query_bias, config_.query_size()},
                                                    {names_.key_bias, config_.kv_size()},
                                                    {names_.value_bias, config_.kv_size()}};
  if (std::none_of(std::begin(parts), std::end(parts), [&](const auto& part) { return Has(part.first); })) {
    return absl::OkStatus();
  }
  std::vector<float> stacked;
  for (const auto& [name, size] : parts) {
    ASSIGN_OR_RETURN(const std::vector<float> bias, HostVector(name, size));
    stacked.insert(stacked.end(), bias.begin(), bias.end());
  }
  auto buffer = ops_.Upload(stacked);
  if (!buffer.ok()) return Located(buffer.status(), names_.query_bias);
  layer.qkv_bias = *std::move(buffer);
  return absl::OkStatus();
}

absl::Status WeightLoader::LoadAttention(LayerWeights& layer) {
  const int hidden = config_.hidden_size;
  ASSIGN_OR_RETURN(layer.attention_norm, Vector(names_.attention_norm, hidden));
  ASSIGN_OR_RETURN(const RawMatrix query, Matrix(names_.query, config_.query_size(), hidden));
  ASSIGN_OR_RETURN(const RawMatrix key, Matrix(names_.key, config_.kv_size(), hidden));
  ASSIGN_OR_RETURN(const RawMatrix value, Matrix(names_.value, config_.kv_size(), hidden));
  const RawMatrix parts[] = {query, key, value};
  auto qkv = ops_.Pack(parts, precision_);
  if (!qkv.ok()) return Located(qkv.status(), names_.query);
  layer.qkv = *std::move(qkv);
  RETURN_IF_ERROR(LoadQkvBias(layer));
  if (!names_.query_norm.empty()) {
    ASSIGN_OR_RETURN(layer.query_norm, Vector(names_.query_norm, config_.head_dim));
    ASSIGN_OR_RETURN(layer.key_norm, Vector(names_.key_norm, config_.head_dim));
  }
  ASSIGN_OR_RETURN(layer.attention_output, Packed(names_.attention_output, hidden, config_.query_size(), precision_));
  if (Has(names_.attention_output_bias)) {
    ASSIGN_OR_RETURN(layer.attention_output_bias, Vector(names_.attention_output_bias, hidden));
  }
  return absl::OkStatus();
}

absl::Status WeightLoader::LoadFeedForward(LayerWeights& layer) {
  const int hidden = config_.hidden_size;
  const int intermediate = config_.intermediate_size;
  ASSIGN_OR_RETURN(layer.feed_forward_norm, Vector(names_.feed_forward_norm, hidden));
  ASSIGN_OR_RETURN(const RawMatrix gate, Matrix(names_.gate, intermediate, hidden));
  ASSIGN_OR_RETURN(const RawMatrix up, Matrix(names_.up, intermediate, hidden));
  auto gate_up = ops_.PackGated(gate, up, precision_);
  if (!gate_up.ok()) return Located(gate_up.status(), names_.gate);
  layer.gate_up = *std::move(gate_up);
  ASSIGN_OR_RETURN(layer.down, Packed(names_.down, hidden, intermediate, precision_));
  return absl::OkStatus();
}

absl::Status WeightLoader::LoadLayer(int index, LayerWeights& layer) {
  prefix_ = absl::StrCat(AbslView(names_.layer_prefix), index, ".");
  RETURN_IF_ERROR(LoadAttention(layer));
  return LoadFeedForward(layer);
}

absl::Status WeightLoader::LoadOuter(Weights& weights) {
  constexpr WeightPrecision kOuter = WeightPrecision::kAsStored;
  prefix_.clear();
  if (Has(names_.rope_factors)) used_.emplace(names_.rope_factors);
  ASSIGN_OR_RETURN(weights.embedding, Packed(names_.embedding, config_.vocab_size, config_.hidden_size, kOuter));
  ASSIGN_OR_RETURN(weights.output_norm, Vector(names_.output_norm, config_.hidden_size));
  if (config_.tied_embeddings) {
    weights.output_head = weights.embedding;
  } else {
    ASSIGN_OR_RETURN(weights.output_head, Packed(names_.output_head, config_.vocab_size, config_.hidden_size, kOuter));
  }
  return absl::OkStatus();
}

absl::Status WeightLoader::CheckNothingIsLeft() const {
  for (const std::string& name : checkpoint_.TensorNames()) {
    if (used_.contains(name)) continue;
    return absl::InvalidArgumentError(absl::StrCat("tensor '", name, "' is not a part of this architecture"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<float>> LoadVector(const Checkpoint& checkpoint, std::string_view name, int64_t size) {
  ASSIGN_OR_RETURN(const RawMatrix matrix, FindMatrix(checkpoint, name, 1, size));
  std::vector<float> values(size);
  DequantizeRow(matrix.dtype, matrix.bytes.data(), values);
  return values;
}

absl::StatusOr<Weights> LoadWeights(const Checkpoint& checkpoint, const ModelConfig& config, const TensorNames& names,
                                    Ops& ops, WeightPrecision precision, const std::function<void(float)>& progress) {
  WeightLoader loader(checkpoint, config, names, ops, precision);
  Weights weights;
  RETURN_IF_ERROR(loader.LoadOuter(weights));
  weights.layers.reserve(config.num_layers);
  for (int i = 0; i < config.num_layers; ++i) {
    if (progress) progress(static_cast<float>(i + 1) / static_cast<float>(config.num_layers + 1));
    RETURN_IF_ERROR(loader.LoadLayer(i, weights.layers.emplace_back()));
  }
  RETURN_IF_ERROR(loader.CheckNothingIsLeft());
  if (progress) progress(1);
  return weights;
}

}  // namespace quire
