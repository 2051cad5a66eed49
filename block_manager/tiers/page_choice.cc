#include "block_manager/tiers/page_choice.h"

#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "block_manager/prefix_index.h"

namespace quire {
namespace {

// Goes down from a salt's root, and notes what is to stay.
class Chooser {
 public:
  Chooser(const PageChoice& choice, std::span<const FoundPage> pages)
      : choice_(choice), pages_(pages), stays_(pages.size(), false) {
    for (size_t i = 0; i < pages.size(); ++i) {
      if (pages[i].page.salt == choice.salt) followers_[pages[i].page.parent].push_back(i);
    }
  }

  std::vector<size_t> Choose() {
    if (!choice_.prefix.empty()) KeepOthers();
    std::vector<size_t> chosen;
    for (size_t i = 0; i < pages_.size(); ++i) {
      if (pages_[i].page.salt == choice_.salt && !stays_[i]) chosen.push_back(i);
    }
    return chosen;
  }

 private:
  // A page of the prefix itself, as often as it is here.
  struct OwnPage {
    std::vector<size_t> copies;
    bool followed_by_others = false;
  };

  void KeepOthers() {
    std::vector<OwnPage> own;
    std::span<const TokenId> rest = choice_.prefix;
    PageKey key = RootKey(choice_.salt);
    bool begins_here = false;  // Some page begins with the prefix.
    for (;;) {
      OwnPage next;
      begins_here = false;
      for (size_t i : FollowersOf(key)) {
        const std::vector<TokenId>& tokens = pages_[i].page.tokens;
        const size_t compared = std::min(rest.size(), tokens.size());
        if (!std::ranges::equal(rest.first(compared), std::span(tokens).first(compared))) {
          KeepWithFollowers(i);
          if (!own.empty()) own.back().followed_by_others = true;
        } else if (compared == tokens.size()) {
          next.copies.push_back(i);
        } else {
          begins_here = true;
        }
      }
      if (next.copies.empty()) break;
      key = pages_[next.copies.front()].page.key;
      rest = rest.subspan(pages_[next.copies.front()].page.tokens.size());
      own.push_back(std::move(next));
    }
    bool stay = !rest.empty() && !begins_here;
    for (auto page = own.rbegin(); page != own.rend(); ++page) {
      stay |= page->followed_by_others;
      for (size_t i : page->copies) stays_[i] = stay;
    }
  }

  void KeepWithFollowers(size_t first) {
    std::vector<size_t> open = {first};
    while (!open.empty()) {
      const size_t i = open.back();
      open.pop_back();
      if (stays_[i]) continue;
      stays_[i] = true;
      const std::span<const size_t> followers = FollowersOf(pages_[i].page.key);
      open.insert(open.end(), followers.begin(), followers.end());
    }
  }

  std::span<const size_t> FollowersOf(const PageKey& key) const {
    const auto found = followers_.find(key);
    if (found == followers_.end()) return {};
    return found->second;
  }

  const PageChoice& choice_;
  const std::span<const FoundPage> pages_;
  absl::flat_hash_map<PageKey, std::vector<size_t>> followers_;
  std::vector<bool> stays_;
};

}  // namespace

std::vector<size_t> ChoosePages(const PageChoice& choice, std::span<const FoundPage> pages) {
  return Chooser(choice, pages).Choose();
}

}  // namespace quire
