// What the block manager tells of its prefix index.
#include <gmock/gmock.h>

#include "tests/block_manager/block_manager_fixture.h"
#include "tests/block_manager/page_mirror.h"

namespace quire {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

using Kind = PageEvent::Kind;

class PageEvents : public BlockManagerFixture {
 protected:
  PageEvents() : BlockManagerFixture({.num_blocks = 4, .block_size = 4}) {}

  // Hash of the page that `tokens` end with.
  static uint64_t HashOf(const std::vector<TokenId>& tokens) {
    uint64_t hash = PrefixIndex::RootHash(/*salt=*/0);
    for (size_t i = 0; i < tokens.size(); i += 4) hash = PrefixIndex::PageHash(hash, std::span(tokens).subspan(i, 4));
    return hash;
  }
  static PageEvent Stored(const std::vector<TokenId>& tokens) {
    const std::vector<TokenId> parent(tokens.begin(), tokens.end() - 4), page(tokens.end() - 4, tokens.end());
    const auto parent_hash = parent.empty() ? std::nullopt : std::optional(HashOf(parent));
    return {.kind = Kind::kStored, .hash = HashOf(tokens), .parent_hash = parent_hash, .tokens = page};
  }
  static PageEvent Removed(const std::vector<TokenId>& tokens) {
    return {.kind = Kind::kRemoved, .hash = HashOf(tokens)};
  }
};

TEST_F(PageEvents, AreNotRecordedUntilSomebodyAsks) {
  Run(Range(0, 8));
  EXPECT_THAT(manager_.TakeEvents(), IsEmpty());
}

TEST_F(PageEvents, TellOfFullPagesOnceTheyAreComputed) {
  manager_.RecordEvents();
  Sequence& sequence = Start(Range(0, 10));
  EXPECT_THAT(manager_.TakeEvents(), IsEmpty()) << "announced is not computed";
  Compute(sequence, 5);
  EXPECT_THAT(manager_.TakeEvents(), ElementsAre(Stored(Range(0, 4))));
  Compute(sequence, 10);
  EXPECT_THAT(manager_.TakeEvents(), ElementsAre(Stored(Range(0, 8))));
  Release(sequence);
  EXPECT_THAT(manager_.TakeEvents(), IsEmpty()) << "half a page is copied, never shared";
}

TEST_F(PageEvents, TellOfAPageOnceHoweverManyComputedIt) {
  manager_.RecordEvents();
  Sequence& first = Start(Range(0, 4), {.reuse = false});
  Sequence& second = Start(Range(0, 4), {.reuse = false});
  Compute(first);
  Compute(second);
  EXPECT_THAT(manager_.TakeEvents(), ElementsAre(Stored(Range(0, 4))));
  Release(first);
  Release(second);
  EXPECT_THAT(manager_.TakeEvents(), IsEmpty());
}

TEST_F(PageEvents, TellOfEvictionTailsFirst) {
  Run(Range(0, 12));
  manager_.RecordEvents();
  Start(Range(100, 12));
  EXPECT_THAT(manager_.TakeEvents(), ElementsAre(Removed(Range(0, 12)), Removed(Range(0, 8))));
}

TEST_F(PageEvents, TellOfAClearingInOneWord) {
  manager_.RecordEvents();
  Run(Range(0, 12));
  manager_.ClearCache();
  EXPECT_THAT(manager_.TakeEvents(), ElementsAre(PageEvent{.kind = Kind::kCleared}));
  EXPECT_THAT(manager_.SharedPages(), IsEmpty());
}

TEST_F(PageEvents, BeginWhereTheListOfSharedPagesEnds) {
  Run(Range(0, 8));
  Sequence& sequence = Start(Join(Range(0, 4), Range(50, 8)));
  Compute(sequence, 8);
  PageMirror mirror(manager_.SharedPages());
  EXPECT_EQ(mirror.size(), 3u);
  manager_.RecordEvents();
  Compute(sequence);
  mirror.Apply(manager_.TakeEvents());
  EXPECT_EQ(mirror, PageMirror(manager_.SharedPages()));
  EXPECT_EQ(mirror.error(), "");
  EXPECT_EQ(mirror.size(), 4u);
}

}  // namespace
}  // namespace quire
