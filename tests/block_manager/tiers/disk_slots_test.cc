#include "block_manager/tiers/disk_slots.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>

#include "tests/block_manager/tiers/tier_fixture.h"

namespace quire {
namespace {

class DiskSlotsTest : public testing::Test {
 protected:
  DiskSlotsTest() : path_(testing::TempDir() + "quire_disk_slots_test." + std::to_string(getpid())) {
    std::filesystem::remove(path_);
    options_.path = path_;
    options_.max_bytes = 1 << 20;
    options_.format = {
        .model_fingerprint = 5, .page_tokens = kPageTokens, .page_bytes = kPageBytes, .layout = "L", .arithmetic = "A"};
  }
  ~DiskSlotsTest() override { std::filesystem::remove_all(path_); }

  std::unique_ptr<DiskSlots> Open() {
    auto slots = DiskSlots::Open(options_);
    EXPECT_EQ(slots.status(), absl::OkStatus());
    return *std::move(slots);
  }
  std::string ErrorOf(const DiskSlotsOptions& options) {
    return std::string(DiskSlots::Open(options).status().message());
  }
  void Overwrite(int64_t offset, const std::string& bytes) {
    std::fstream file(path_, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(offset).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  }
  absl::Status Read(DiskSlots& slots, SlotId slot, const PageRecord& page) {
    read_.resize(kPageBytes);
    return slots.Read(slot, page, 100, read_);
  }

  const std::string path_;
  DiskSlotsOptions options_;
  std::vector<std::byte> read_;
};

TEST_F(DiskSlotsTest, KeepsPagesOverRestarts) {
  {
    const auto slots = Open();
    EXPECT_TRUE(slots->FindPages().empty());
    EXPECT_EQ(slots->Write(3, Page(10), 41, Contents(1)), absl::OkStatus());
    EXPECT_EQ(slots->Write(20, Page(20), 42, Contents(2)), absl::OkStatus());
  }
  const auto slots = Open();
  const std::vector<FoundPage> found = slots->FindPages();
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].slot, 3);
  EXPECT_EQ(found[0].page, Page(10));
  EXPECT_EQ(found[1].slot, 20);
  EXPECT_EQ(found[1].sequence, 42u);
  EXPECT_EQ(Read(*slots, 20, Page(20)), absl::OkStatus());
  EXPECT_EQ(read_, Contents(2));
  EXPECT_EQ(slots->FindPages()[1].sequence, 100u);
}

TEST_F(DiskSlotsTest, ForgetsASlotForGood) {
  {
    const auto slots = Open();
    for (int i = 0; i < 2; ++i) ASSERT_EQ(slots->Write(i, Page(10 * i), 1, Contents(i)), absl::OkStatus());
    EXPECT_EQ(slots->Erase(0), absl::OkStatus());
    EXPECT_TRUE(absl::IsDataLoss(Read(*slots, 0, Page(0))));
  }
  const std::vector<FoundPage> found = Open()->FindPages();
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].slot, 1);
}

TEST_F(DiskSlotsTest, IsForItsOwnerOnly) {
  Open();
  struct stat status;
  ASSERT_EQ(stat(path_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
}

TEST_F(DiskSlotsTest, RefusesPagesThatAreNotWhatWasAskedFor) {
  const auto slots = Open();
  ASSERT_EQ(slots->Write(0, Page(10), 1, Contents(1)), absl::OkStatus());
  EXPECT_TRUE(absl::IsDataLoss(Read(*slots, 0, Page(11)))) << "other tokens";
  EXPECT_TRUE(absl::IsDataLoss(Read(*slots, 0, Page(10, /*salt=*/8)))) << "another salt";
  PageRecord orphan = Page(10);
  orphan.parent.check ^= 1;
  EXPECT_TRUE(absl::IsDataLoss(Read(*slots, 0, orphan))) << "another parent";
  EXPECT_TRUE(absl::IsDataLoss(Read(*slots, 1, Page(10)))) << "an empty slot";
  EXPECT_EQ(Read(*slots, 0, Page(10)), absl::OkStatus());
}

TEST_F(DiskSlotsTest, RefusesDamagedPagesOneByOne) {
  const auto slots = Open();
  for (int i = 0; i < 3; ++i) ASSERT_EQ(slots->Write(i, Page(10 * i), 1, Contents(i)), absl::OkStatus());
  Overwrite(slots->PageOffset(0) + kPageBytes - 1, "?");
  Overwrite(slots->EntryOffset(1) + 30, "?");
  EXPECT_TRUE(absl::IsDataLoss(Read(*slots, 0, Page(0))));
  EXPECT_TRUE(absl::IsDataLoss(Read(*slots, 1, Page(10))));
  EXPECT_EQ(Read(*slots, 2, Page(20)), absl::OkStatus());
  EXPECT_EQ(slots->FindPages().size(), 2u);
}

TEST_F(DiskSlotsTest, TakesAFileThatEndsAnywhere) {
  { ASSERT_EQ(Open()->Write(17, Page(10), 1, Contents(1)), absl::OkStatus()); }
  const int64_t end = static_cast<int64_t>(std::filesystem::file_size(path_));
  for (int64_t size = end; size >= 512; size -= 97) {
    std::filesystem::resize_file(path_, size);
    const auto slots = Open();
    for (const FoundPage& found : slots->FindPages()) {
      EXPECT_EQ(Read(*slots, found.slot, Page(10)).ok(), size == end) << size;
    }
  }
}

TEST_F(DiskSlotsTest, StaysEmptyOnceCleared) {
  {
    const auto slots = Open();
    ASSERT_EQ(slots->Write(3, Page(10), 1, Contents(1)), absl::OkStatus());
    ASSERT_EQ(slots->Clear(), absl::OkStatus());
    EXPECT_TRUE(absl::IsDataLoss(Read(*slots, 3, Page(10))));
  }
  EXPECT_TRUE(Open()->FindPages().empty());
}

TEST_F(DiskSlotsTest, GrowsAndShrinksWithItsLimit) {
  const int most = Open()->num_slots();
  { ASSERT_EQ(Open()->Write(0, Page(10), 1, Contents(1)), absl::OkStatus()); }
  { ASSERT_EQ(Open()->Write(most - 1, Page(20), 2, Contents(2)), absl::OkStatus()); }
  options_.max_bytes /= 4;
  EXPECT_LT(Open()->num_slots(), most);
  EXPECT_EQ(Open()->FindPages().size(), 1u);
  EXPECT_LE(static_cast<int64_t>(std::filesystem::file_size(path_)), options_.max_bytes);
  options_.max_bytes *= 8;
  EXPECT_GT(Open()->num_slots(), most);
  EXPECT_EQ(Open()->FindPages().size(), 1u);
}

TEST_F(DiskSlotsTest, SaysWhatAnotherFormatIs) {
  Open();
  DiskSlotsOptions other = options_;
  other.format.model_fingerprint = 6;
  EXPECT_EQ(ErrorOf(other), "holds pages of another model");
  other = options_;
  other.format.page_tokens = 8;
  EXPECT_EQ(ErrorOf(other), "has pages of 4 tokens, not 8");
  other = options_;
  other.format.layout = "M";
  EXPECT_EQ(ErrorOf(other), "has pages of L (100 bytes), not of M (100 bytes)");
  other = options_;
  other.format.arithmetic = "B";
  EXPECT_EQ(ErrorOf(other), "has pages computed by A, not by B");
  EXPECT_TRUE(absl::IsFailedPrecondition(DiskSlots::Open(other).status()));
}

TEST_F(DiskSlotsTest, ReplacesAnotherFormatOnlyWhenToldTo) {
  { ASSERT_EQ(Open()->Write(0, Page(10), 1, Contents(1)), absl::OkStatus()); }
  Overwrite(0, "My only photograph");
  EXPECT_EQ(ErrorOf(options_), "holds no KV pages");
  options_.recreate = true;
  EXPECT_TRUE(Open()->FindPages().empty());
  options_.recreate = false;
  EXPECT_TRUE(Open()->FindPages().empty());
}

TEST_F(DiskSlotsTest, RefusesAHeaderWithAnyBitFlipped) {
  Open();
  std::ifstream file(path_, std::ios::binary);
  std::array<std::byte, kPageFileHeaderBytes> header;
  file.read(reinterpret_cast<char*>(header.data()), header.size());
  ASSERT_EQ(CheckPageFileHeader(header, options_.format), absl::OkStatus());
  int num_accepted = 0;
  for (size_t i = 0; i < header.size() * 8; ++i) {
    header[i / 8] ^= std::byte{1} << i % 8;
    num_accepted += CheckPageFileHeader(header, options_.format).ok();
    header[i / 8] ^= std::byte{1} << i % 8;
  }
  EXPECT_EQ(num_accepted, 8 * (512 - 288)) << "only the padding";
}

TEST_F(DiskSlotsTest, IsUsedByOneProcessAtATime) {
  const auto slots = Open();
  EXPECT_EQ(ErrorOf(options_), "is in use by another server");
}

TEST_F(DiskSlotsTest, RefusesWhatCannotBeAFileOfPages) {
  options_.max_bytes = 1000;
  EXPECT_THAT(ErrorOf(options_), testing::HasSubstr("must be allowed at least "));
  options_.max_bytes = 1 << 20;
  std::filesystem::create_directory(path_);
  EXPECT_TRUE(!DiskSlots::Open(options_).ok());
}

}  // namespace
}  // namespace quire
