#include "block_manager/tiers/page_choice.h"

#include <gmock/gmock.h>

#include "tests/block_manager/tiers/tier_fixture.h"

namespace quire {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr uint64_t kSalt = 7;

FoundPage After(const PageRecord& parent, TokenId first) {
  PageRecord page = Page(first, parent.salt);
  page.parent = parent.key;
  page.key = NextKey(page.parent, page.tokens);
  return {.slot = 0, .page = page};
}

// Two conversations that begin alike, 10 - 20 - 30 and 10 - 20 - 40, and one of another salt.
class PageChoiceTest : public ::testing::Test {
 protected:
  PageChoiceTest() {
    pages_.push_back({.slot = 0, .page = Page(10, kSalt)});
    pages_.push_back(After(pages_[0].page, 20));
    pages_.push_back(After(pages_[1].page, 30));
    pages_.push_back(After(pages_[1].page, 40));
    pages_.push_back({.slot = 0, .page = Page(10, kSalt + 1)});
  }
  std::vector<size_t> Choose(std::vector<TokenId> prefix) const { return ChoosePages({kSalt, std::move(prefix)}, pages_); }

  std::vector<FoundPage> pages_;
};

const std::vector<TokenId> kFirst = {10, 11, 12, 13}, kTwo = {10, 11, 12, 13, 20, 21, 22, 23};

std::vector<TokenId> Join(std::vector<TokenId> tokens, const std::vector<TokenId>& more) {
  tokens.insert(tokens.end(), more.begin(), more.end());
  return tokens;
}

TEST_F(PageChoiceTest, WithoutAPrefixIsEverythingOfTheSalt) { EXPECT_THAT(Choose({}), ElementsAre(0, 1, 2, 3)); }

TEST_F(PageChoiceTest, IsWhatBeginsWithThePrefixAndItsOwnEnd) {
  EXPECT_THAT(Choose(kTwo), ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(Choose({10, 11}), ElementsAre(0, 1, 2, 3));
}

TEST_F(PageChoiceTest, LeavesOfThePrefixWhatOthersFollow) {
  EXPECT_THAT(Choose(Join(kTwo, {30, 31})), ElementsAre(2)) << "in the middle of a page";
  EXPECT_THAT(Choose(Join(kTwo, {40, 41, 42, 43})), ElementsAre(3));
}

TEST_F(PageChoiceTest, IsNothingWhereNothingBeginsSo) {
  EXPECT_THAT(Choose({11}), IsEmpty());
  EXPECT_THAT(Choose({10, 12}), IsEmpty());
  EXPECT_THAT(Choose(Join(kTwo, {50})), IsEmpty());
  EXPECT_THAT(Choose(Join(kFirst, {20, 21, 22, 23, 30, 31, 32, 33, 1})), IsEmpty()) << "longer than what is here";
}

TEST_F(PageChoiceTest, IsAlsoWhatNobodyKnowsTheBeginningOf) {
  pages_.erase(pages_.begin() + 1);
  EXPECT_THAT(Choose(kTwo), ElementsAre(1, 2)) << "what followed the page that is gone";
  EXPECT_THAT(Choose({99}), ElementsAre(1, 2));
}

TEST_F(PageChoiceTest, TakesEveryCopyOfAPage) {
  pages_.push_back(pages_[3]);
  pages_.push_back(pages_[0]);
  EXPECT_THAT(Choose(Join(kTwo, {40})), ElementsAre(3, 5));
  EXPECT_THAT(Choose(kFirst), ElementsAre(0, 1, 2, 3, 5, 6));
}

}  // namespace
}  // namespace quire
