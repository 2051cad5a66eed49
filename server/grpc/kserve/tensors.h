// Tensors of one element, as the Open Inference Protocol carries text and switches.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "kserve/grpc_service.pb.h"

namespace quire::kserve {

using InputTensor = inference::ModelInferRequest::InferInputTensor;

// The element of a BYTES or a BOOL tensor. `raw` is its entry in raw_input_contents, or null where the request keeps
// contents beside each tensor. INVALID_ARGUMENT names the tensor.
absl::StatusOr<std::string> ReadBytes(const InputTensor& tensor, const std::string* raw);
absl::StatusOr<bool> ReadBool(const InputTensor& tensor, const std::string* raw);

// Adds an output of one dimension; elements go into raw_output_contents.
void AddBytesOutput(const std::string& name, const std::vector<std::string>& elements,
                    inference::ModelInferResponse& response);
void AddUint32Output(const std::string& name, const std::vector<uint32_t>& elements,
                     inference::ModelInferResponse& response);

}  // namespace quire::kserve
