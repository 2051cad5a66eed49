#include "server/available_memory.h"

#include <algorithm>
#include <fstream>
#include <string>

namespace quire {
namespace {

int64_t MachineAvailable() {
  std::ifstream file("/proc/meminfo");
  for (std::string key; file >> key;) {
    int64_t kibibytes = 0;
    if (key == "MemAvailable:" && file >> kibibytes) return kibibytes * 1024;
    file.ignore(256, '\n');
  }
  return 0;
}

// The number in a control group's file; -1 if there is none ("max", or no such group).
int64_t ReadGroupBytes(const char* path) {
  std::ifstream file(path);
  int64_t bytes = -1;
  return file >> bytes ? bytes : -1;
}

}  // namespace

int64_t AvailableMemory() {
  const int64_t machine = MachineAvailable();
  // Inside a container the group's own files lie at the root.
  const int64_t limit = ReadGroupBytes("/sys/fs/cgroup/memory.max");
  const int64_t used = ReadGroupBytes("/sys/fs/cgroup/memory.current");
  if (limit < 0 || used < 0) return machine;
  return std::min(machine, std::max<int64_t>(limit - used, 0));
}

}  // namespace quire
