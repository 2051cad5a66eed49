// PageMirror: what a reader of page events knows of the prefix index.
#pragma once

#include <map>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "block_manager/page_event.h"

namespace quire {

class PageMirror {
 public:
  PageMirror() = default;
  explicit PageMirror(std::span<const PageEvent> pages) { Apply(pages); }

  void Apply(std::span<const PageEvent> events) {
    for (const PageEvent& event : events) Apply(event);
  }

  // The first event that did not make sense; empty if all did.
  const std::string& error() const { return error_; }
  size_t size() const { return pages_.size(); }

  friend bool operator==(const PageMirror& a, const PageMirror& b) { return a.pages_ == b.pages_; }

 private:
  void Apply(const PageEvent& event) {
    switch (event.kind) {
      case PageEvent::Kind::kStored:
        if (event.parent_hash && !pages_.contains(*event.parent_hash)) Fail("a page was stored before its parent");
        if (!pages_.emplace(event.hash, std::pair(event.parent_hash, event.tokens)).second) Fail("a page came twice");
        if (event.parent_hash) children_.emplace(*event.parent_hash, event.hash);
        return;
      case PageEvent::Kind::kRemoved: {
        const auto page = pages_.find(event.hash);
        if (page == pages_.end()) return Fail("a page was removed that was not there");
        if (children_.lower_bound({event.hash, 0}) != children_.lower_bound({event.hash + 1, 0})) {
          Fail("a page was removed before those that follow it");
        }
        if (page->second.first) children_.erase({*page->second.first, event.hash});
        pages_.erase(page);
        return;
      }
      case PageEvent::Kind::kCleared:
        pages_.clear();
        children_.clear();
        return;
    }
  }
  void Fail(const char* what) {
    if (error_.empty()) error_ = what;
  }

  std::map<uint64_t, std::pair<std::optional<uint64_t>, std::vector<TokenId>>> pages_;  // By hash: parent, tokens.
  std::set<std::pair<uint64_t, uint64_t>> children_;                                    // Parent, child.
  std::string error_;
};

}  // namespace quire
