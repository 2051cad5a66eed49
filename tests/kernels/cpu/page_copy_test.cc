#include "kernels/cpu/page_copy.h"

#include <gtest/gtest.h>

#include "kernels/cpu/cpu_ops.h"
#include "tests/kernels/host_pages_test.h"
#include "tests/kernels/kv_types.h"

namespace quire {
namespace {

TEST(CpuPageCopy, BringsPagesToTheHostAndBack) {
  for (const KvTypes& types : {kBFloat16Kv, kInt8Kv, KvTypes{KvDType::kInt8, KvDType::kInt4}}) {
    SCOPED_TRACE(NameOf(types));
    const KvLayout layout = {.num_layers = 3,
                             .num_heads = 2,
                             .num_kv_heads = 2,
                             .head_dim = 64,
                             .page_size = 32,
                             .num_pages = 4,
                             .key_dtype = types.key,
                             .value_dtype = types.value};
    for (const int num_threads : {1, 2}) {
      CpuOptions options;
      options.num_threads = num_threads;
      const auto ops = MakeCpuOps(options).value();
      TestTransfers(*ops, layout);
      EXPECT_TRUE(absl::IsResourceExhausted(ops->AllocateHostPages(layout, 1 << 30).status()));
    }
  }
}

}  // namespace
}  // namespace quire
