// DeviceGraph: work that was recorded once and goes to the device by one call from then on.
#pragma once

#include <memory>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/cuda/stream.h"

struct CUgraphExec_st;

namespace quire {

// May be destroyed while the device is at work on it.
class DeviceGraph {
 public:
  DeviceGraph() = default;  // None.

  // Of what `record` puts on the stream: kernels with their arguments, of which nothing runs now. Meanwhile nobody may
  // allocate or free memory of the device or wait for it. Errors are as ToStatus has them; those of calls within
  // `record` are for it to see, and may show here as well.
  static absl::StatusOr<DeviceGraph> Record(CudaStream stream, absl::FunctionRef<void()> record);

  explicit operator bool() const { return executable_ != nullptr; }
  // Puts all of it on the stream. REQUIRES: there is one.
  absl::Status Launch(CudaStream stream) const;

 private:
  struct Destroy {
    void operator()(CUgraphExec_st* executable) const;
  };

  std::unique_ptr<CUgraphExec_st, Destroy> executable_;
};

}  // namespace quire
