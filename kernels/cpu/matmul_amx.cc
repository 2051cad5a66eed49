// clang-format off: the kernels need their lanes first.
#include "kernels/cpu/lanes_avx512.h"
#include "kernels/cpu/matmul_kernels_impl.h"
#include "kernels/cpu/tile_kernels_impl.h"
// clang-format on

namespace quire {
namespace {

// Instructions by hand: compilers' own macros take no template parameters for registers, and gcc's do not say that a
// load reads memory, so that the stores before it may be moved behind it.
struct Tiles {
  static void Configure(const TileConfig& config) { asm volatile("ldtilecfg %0" : : "m"(config)); }
  static void Release() { asm volatile("tilerelease"); }
  template <int kTile>
  static void Zero() {
    asm volatile("tilezero %%tmm%c0" : : "i"(kTile));
  }
  template <int kTile>
  static void Load(const void* from, int64_t stride) {
    asm volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(from), "r"(stride), "i"(kTile) : "memory");
  }
  template <int kTile>
  static void Store(void* to, int64_t stride) {
    asm volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(to), "r"(stride), "i"(kTile) : "memory");
  }
  template <int kSums, int kRows, int kWeights>
  static void MultiplyAdd() {
    asm volatile("tdpbsud %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kSums), "i"(kRows), "i"(kWeights));
  }
};

}  // namespace

constinit const MatMulKernels kAmxMatMulKernels = MakeTileKernels<Tiles>();

}  // namespace quire
