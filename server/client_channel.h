// Channels of the programs that are clients of a server: `quire chat`, `quire cache`, the load generator.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>

namespace quire {

// Where the key comes from that a server with tenants asks for. Not a flag: everybody on the machine could read it.
inline constexpr char kApiKeyVariable[] = "QUIRE_API_KEY";

// A plain-text channel, whose calls bring along the key of kApiKeyVariable if it is set.
std::shared_ptr<grpc::Channel> OpenChannel(const std::string& target);

}  // namespace quire
