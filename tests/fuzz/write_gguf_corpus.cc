// Writes the seeds of corpus/gguf into the folder named on the command line; run after a change of
// tests/fakes/small_gguf.
#include <cstdio>
#include <fstream>
#include <string>

#include "tests/fakes/small_gguf.h"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
    return 2;
  }
  const auto write = [&](const std::string& name, const std::string& bytes) {
    std::ofstream(std::string(argv[1]) + "/" + name + ".gguf", std::ios::binary) << bytes;
  };
  const quire::GgufImage image = quire::SmallGguf().Write();
  constexpr uint64_t kHuge = uint64_t{1} << 60;
  write("version3", image.bytes);
  write("version2", quire::SmallGguf().Write(2).bytes);
  write("only_the_header", image.bytes.substr(0, 24));
  write("truncated", image.bytes.substr(0, image.bytes.size() / 2));
  write("huge_tensor_count", image.With("tensor_count", kHuge));
  write("huge_key_count", image.With("key_count", kHuge));
  write("huge_array", image.With("ints.count", kHuge));
  write("huge_string", image.With("name.length", kHuge));
  write("huge_tensor", image.With("matrix.dim", kHuge));
  write("array_of_arrays", image.With("strings.element_type", 9));
  write("overlapping_tensors", image.With("matrix.offset", 0));
  write("odd_alignment", image.With("general.alignment.value", 33));
  return 0;
}
