// Any bytes as a request id and a traceparent: what comes out can be sent in a header and written into a log.
#include <algorithm>

#include "kernels/check.h"
#include "server/request_origin.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const size_t cut = std::min(text.find('\n'), size);
  const quire::RequestOrigin origin =
      quire::MakeOrigin(quire::Protocol::kQuire, text.substr(0, cut), text.substr(std::min(cut + 1, size)));
  const auto printable = [](const std::string& value) {
    return std::all_of(value.begin(), value.end(), [](char c) { return c > ' ' && c < '\x7f'; });
  };
  QUIRE_CHECK(!origin.request_id.empty() && origin.request_id.size() <= 128 && printable(origin.request_id));
  QUIRE_CHECK(origin.traceparent.size() <= 256 && printable(origin.traceparent));
  QUIRE_CHECK(origin.traceparent.empty() || quire::IsTraceparent(origin.traceparent));
  return 0;
}
