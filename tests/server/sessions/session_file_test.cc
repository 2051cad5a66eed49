#include "server/sessions/session_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "server/sessions/session_folder.h"
#include "server/status_details.h"

namespace quire {
namespace {

using ::testing::HasSubstr;

SessionRecord SomeRecord() { return {.fingerprint = 11, .owner = 12, .tokens = {1, 2, 300}, .roles = {"user"}}; }

TEST(SessionFile, IsReadAsItWasWritten) {
  const absl::StatusOr<SessionRecord> read = ReadSession(WriteSession(SomeRecord()));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->fingerprint, 11u);
  EXPECT_EQ(read->owner, 12u);
  EXPECT_EQ(read->tokens, SomeRecord().tokens);
  EXPECT_EQ(read->roles, SomeRecord().roles);
}

TEST(SessionFile, IsRefusedWhereverItIsTornOrDamaged) {
  const std::string file = WriteSession(SomeRecord());
  for (size_t size = 0; size < file.size(); ++size) EXPECT_FALSE(ReadSession(file.substr(0, size)).ok()) << size;
  for (size_t i = 0; i < file.size(); ++i) {
    std::string damaged = file;
    damaged[i] ^= 0x20;
    EXPECT_FALSE(ReadSession(damaged).ok()) << i;
  }
  EXPECT_TRUE(absl::IsDataLoss(ReadSession(file + "x").status()));
}

TEST(SessionFile, OfAnotherVersionIsNamedSo) {
  std::string file = WriteSession(SomeRecord());
  file[8] = 9;
  EXPECT_THAT(ReadSession(file).status().message(), HasSubstr("version 9"));
  EXPECT_TRUE(absl::IsFailedPrecondition(ReadSession("no session").status()));
}

class SessionFolderTest : public ::testing::Test {
 protected:
  SessionFolderTest()
      : path_(::testing::TempDir() + "quire_session_folder_" + std::to_string(getpid())), folder_(path_.string()) {
    std::filesystem::remove_all(path_);
  }
  ~SessionFolderTest() override { std::filesystem::remove_all(path_); }

  const std::filesystem::path path_;
  SessionFolder folder_;
};

TEST_F(SessionFolderTest, KeepsOwnersApart) {
  ASSERT_TRUE(folder_.Write(1, "a", "one").ok());
  ASSERT_TRUE(folder_.Write(2, "a", "two").ok());
  ASSERT_TRUE(folder_.Write(2, "a", "three").ok());
  EXPECT_EQ(*folder_.Read(1, "a"), "one");
  EXPECT_EQ(*folder_.Read(2, "a"), "three");
  EXPECT_TRUE(absl::IsNotFound(folder_.Read(3, "a").status()));
}

TEST_F(SessionFolderTest, LeavesNothingBesideItsFiles) {
  ASSERT_TRUE(folder_.Write(1, "a", "one").ok());
  int num_files = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(path_)) num_files += entry.is_regular_file();
  EXPECT_EQ(num_files, 1);
}

TEST_F(SessionFolderTest, TakesNoNameThatLeadsElsewhere) {
  EXPECT_TRUE(SessionFolder::CheckName("name", "chat-1.2_b").ok());
  for (const char* name : {"", ".", "..", "../a", "a/b", "-a", "a b", "\xC3\xA9"}) {
    EXPECT_EQ(FieldOf(SessionFolder::CheckName("name", name)), "name") << name;
  }
  EXPECT_FALSE(SessionFolder::CheckName("name", std::string(101, 'a')).ok());
}

TEST(SessionFolder, ThatCannotBeWrittenToIsAnError) {
  SessionFolder folder("/dev/null/sessions");
  EXPECT_TRUE(absl::IsUnavailable(folder.Write(1, "a", "one")));
}

}  // namespace
}  // namespace quire
