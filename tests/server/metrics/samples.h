// Reads what Metrics::Render writes.
#pragma once

#include <map>
#include <sstream>
#include <string>

namespace quire {

// Values by name and labels, as they are written: `quire_kv_pages{state="free"}`.
inline std::map<std::string, double> ParseSamples(const std::string& text) {
  std::map<std::string, double> samples;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.empty() || line[0] == '#') continue;
    const size_t space = line.rfind(' ');
    samples[line.substr(0, space)] = std::stod(line.substr(space + 1));
  }
  return samples;
}

}  // namespace quire
