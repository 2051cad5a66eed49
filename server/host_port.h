// Addresses as people write them.
#pragma once

#include <string>

namespace quire {

// "127.0.0.1:8080"; an IPv6 address gets the brackets that it needs before a port.
std::string JoinHostPort(const std::string& host, int port);

}  // namespace quire
