#include <cstring>

#include "kernels/bfloat16.h"
#include "tests/cuda_shim/block_runner.h"
#include "tests/cuda_shim/cuda_shim.h"

namespace quire::cuda_shim {
namespace {

struct MmaOperands {
  float* d;
  const uint32_t* a;
  const uint32_t* b;
};

struct LoadOperands {
  uint32_t* result;
  const std::byte* row;
};

double Low(uint32_t pair) { return FromBFloat16(static_cast<uint16_t>(pair)); }
double High(uint32_t pair) { return FromBFloat16(static_cast<uint16_t>(pair >> 16)); }

void MultiplyAdd(void* const* lanes) {
  double a[16][16], b[16][8];
  for (int lane = 0; lane < kLanes; ++lane) {
    const auto& operands = *static_cast<const MmaOperands*>(lanes[lane]);
    const int group = lane / 4, pair = 2 * (lane % 4);
    for (int i = 0; i < 4; ++i) {
      double* const to = &a[group + 8 * (i & 1)][pair + 8 * (i >> 1)];
      to[0] = Low(operands.a[i]);
      to[1] = High(operands.a[i]);
    }
    for (int i = 0; i < 2; ++i) {
      b[pair + 8 * i][group] = Low(operands.b[i]);
      b[pair + 8 * i + 1][group] = High(operands.b[i]);
    }
  }
  for (int row = 0; row < 16; ++row) {
    double sums[8] = {};
    for (int k = 0; k < 16; ++k) {
      for (int column = 0; column < 8; ++column) sums[column] += a[row][k] * b[k][column];
    }
    for (int column = 0; column < 8; ++column) {
      const auto& owner = *static_cast<const MmaOperands*>(lanes[row % 8 * 4 + column / 2]);
      float& d = owner.d[row / 8 * 2 + column % 2];
      d = static_cast<float>(d + sums[column]);
    }
  }
}

// Element `column` of row `row` of matrix `matrix`, from the rows that the lanes have given.
uint32_t Element(void* const* lanes, int matrix, int row, int column) {
  uint16_t element;
  std::memcpy(&element, static_cast<const LoadOperands*>(lanes[8 * matrix + row])->row + 2 * column, sizeof(element));
  return element;
}

template <bool kTransposed>
void LoadMatrices(void* const* lanes) {
  for (int lane = 0; lane < kLanes; ++lane) {
    const int major = lane / 4, minor = 2 * (lane % 4);
    for (int i = 0; i < 4; ++i) {
      const uint32_t low = kTransposed ? Element(lanes, i, minor, major) : Element(lanes, i, major, minor);
      const uint32_t high = kTransposed ? Element(lanes, i, minor + 1, major) : Element(lanes, i, major, minor + 1);
      static_cast<const LoadOperands*>(lanes[lane])->result[i] = high << 16 | low;
    }
  }
}

}  // namespace

std::byte* SharedMemory() { return BlockRunner::Get().shared_memory(); }

int Lane() { return BlockRunner::Get().lane(); }

void SyncBlock(const Caller& caller) { BlockRunner::Get().SyncBlock(caller); }

void SyncWarp(const Caller& caller) {
  BlockRunner::Get().WarpCollective("SyncWarp", nullptr, [](void* const*) {}, caller);
}

void WarpCollective(const char* operation, void* operands, void (*combine)(void* const* lanes), const Caller& caller) {
  BlockRunner::Get().WarpCollective(operation, operands, combine, caller);
}

unsigned Ballot(bool predicate, const char* operation, const Caller& caller) {
  unsigned votes = predicate;
  const auto combine = [](void* const* lanes) {
    unsigned all = 0;
    for (int lane = 0; lane < kLanes; ++lane) all |= *static_cast<const unsigned*>(lanes[lane]) << lane;
    for (int lane = 0; lane < kLanes; ++lane) *static_cast<unsigned*>(lanes[lane]) = all;
  };
  BlockRunner::Get().WarpCollective(operation, &votes, combine, caller);
  return votes;
}

void CopyAsync16(void* shared, const void* global, bool valid, const Caller& caller) {
  BlockRunner::Get().CopyAsync(static_cast<std::byte*>(shared), static_cast<const std::byte*>(global), valid, caller);
}

void CommitCopies() { BlockRunner::Get().CommitCopies(); }

void WaitCopies(int pending) { BlockRunner::Get().WaitCopies(pending); }

void LoadMatrix4(uint32_t (&r)[4], const void* shared_row, const Caller& caller) {
  BlockRunner::Get().CheckShared(shared_row, 16, "LoadMatrix4", caller);
  LoadOperands own = {r, static_cast<const std::byte*>(shared_row)};
  BlockRunner::Get().WarpCollective("LoadMatrix4", &own, LoadMatrices<false>, caller);
}

void LoadMatrix4Transposed(uint32_t (&r)[4], const void* shared_row, const Caller& caller) {
  BlockRunner::Get().CheckShared(shared_row, 16, "LoadMatrix4Transposed", caller);
  LoadOperands own = {r, static_cast<const std::byte*>(shared_row)};
  BlockRunner::Get().WarpCollective("LoadMatrix4Transposed", &own, LoadMatrices<true>, caller);
}

void MmaBFloat16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], const Caller& caller) {
  MmaOperands own = {d, a, b};
  BlockRunner::Get().WarpCollective("MmaBFloat16", &own, MultiplyAdd, caller);
}

}  // namespace quire::cuda_shim
