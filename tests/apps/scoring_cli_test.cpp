// dfengine predict on lists, tars and packed files, cut into shards that several processes share.
#include <algorithm>
#include <cstdlib>

#include "tests/apps/cli_support.h"
#include "tests/engine/data/tar_writer.h"

namespace dfengine {
namespace {

using nlohmann::json;
using test::contains;
using test::model_file;
using test::Outcome;
using test::picture_set;
using test::run_program;
using test::ScratchFolder;
using test::slurp;

namespace fs = std::filesystem;
using Words = std::vector<std::string>;

class Variable {
 public:
  Variable(const char* name, const char* value) : name_(name) { ::setenv(name, value, 1); }
  ~Variable() { ::unsetenv(name_); }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  const char* name_;
};

class ScoringCli : public testing::Test {
 protected:
  void SetUp() override {
    for (const auto& entry : fs::recursive_directory_iterator(picture_set() + "/train"))
      if (entry.is_regular_file()) files_.push_back(entry.path().string());
    std::ranges::sort(files_);
    // Of which the second and third are one shard.
    for (std::size_t i = 0; i < 3; ++i) {
      std::vector<std::pair<std::string, std::string>> entries;
      for (std::size_t k = i; k < files_.size(); k += 3)
        entries.emplace_back(fs::path(files_[k]).filename().string(), slurp(files_[k]));
      test::spill(at("00" + std::to_string(i) + ".tar"), test::tar_of(entries));
    }
  }

  std::string at(const std::string& name) const { return (scratch_.path() / name).string(); }
  std::string tars() const { return at("{000..002}.tar"); }

  Outcome predict(const Words& more) const {
    Words words = {"predict", "--model", model_file()};
    words.insert(words.end(), more.begin(), more.end());
    return run_program(words);
  }
  // By the name of the picture.
  std::map<std::string, std::string> probabilities(const std::string& csv) const {
    std::map<std::string, std::string> all;
    const auto rows = test::parse_csv(csv);
    for (std::size_t i = 1; i < rows.size(); ++i)
      EXPECT_TRUE(all.emplace(fs::path(rows[i].at(0)).filename().string(), rows[i].at(1)).second);
    return all;
  }

  ScratchFolder scratch_;
  Words files_;
};

TEST_F(ScoringCli, EverySourceGivesTheSameAnswers) {
  const Outcome direct = predict({"--format", "csv", picture_set() + "/train"});
  ASSERT_EQ(direct.code, 0) << direct.err;
  const auto expected = probabilities(direct.out);
  ASSERT_EQ(expected.size(), files_.size());
  std::string list;
  for (const std::string& file : files_) list += file + "\n";
  test::spill(at("list.txt"), list);
  const Outcome listed = predict({"--format", "csv", "--input", at("list.txt")});
  EXPECT_EQ(listed.out, direct.out) << listed.err;
  const Outcome tars = predict({"--format", "csv", this->tars()});
  ASSERT_EQ(tars.code, 0) << tars.err;
  EXPECT_EQ(probabilities(tars.out), expected);
  ASSERT_EQ(run_program({"pack", picture_set(), at("set.dfpack"), "--img-size", "96"}).code, 0);
  const Outcome packed = predict({"--format", "csv", at("set.dfpack")});
  ASSERT_EQ(packed.code, 0) << packed.err;
  const auto of_pack = probabilities(packed.out);
  for (const auto& [name, prob] : expected) EXPECT_EQ(of_pack.at(name), prob) << name;
  const Outcome lines = predict({"--format", "jsonl", "--stability", this->tars()});
  ASSERT_EQ(lines.code, 0) << lines.err;
  EXPECT_EQ(std::ranges::count(lines.out, '\n'), std::ssize(files_));
  EXPECT_TRUE(json::parse(lines.out.substr(0, lines.out.find('\n'))).contains("prob_low"));
}

TEST_F(ScoringCli, ADamagedTarIsOneErrorAndTheRestGoOn) {
  test::spill(at("001.tar"), "no tar at all");
  const Outcome o = predict({"--format", "csv", tars(), at("absent.tar")});
  EXPECT_EQ(o.code, 3) << o.err;
  EXPECT_TRUE(contains(o.err, "001.tar")) << o.err;
  EXPECT_TRUE(contains(o.err, "absent.tar")) << o.err;
  EXPECT_TRUE(contains(o.err, "2 of 23 pictures could not be read")) << o.err;
}

TEST_F(ScoringCli, PartsFillAFolderThatIsMerged) {
  const Words in = {tars(), files_[0], files_[1], "--output", at("out")};
  const auto part = [&](Words more) {
    more.insert(more.end(), in.begin(), in.end());
    return predict(more);
  };
  ASSERT_EQ(part({"--part", "1/2"}).code, 0);
  EXPECT_FALSE(fs::exists(at("out/shard-000000.csv")));
  EXPECT_TRUE(fs::exists(at("out/shard-000001.csv")));
  const Outcome early = run_program({"predict", "--merge", at("out")});
  EXPECT_EQ(early.code, 2);
  EXPECT_TRUE(contains(early.err, "2 of 4 shards are missing, shard-000000 first")) << early.err;
  {
    const Variable id("SLURM_ARRAY_TASK_ID", "10"), least("SLURM_ARRAY_TASK_MIN", "10"),
        count("SLURM_ARRAY_TASK_COUNT", "2");
    const Outcome o = part({});
    ASSERT_EQ(o.code, 0) << o.err;
    EXPECT_TRUE(contains(o.err, "part 0 of 2, by SLURM_ARRAY_TASK_ID")) << o.err;
  }
  const Outcome merged = run_program({"predict", "--merge", at("out")});
  ASSERT_EQ(merged.code, 0) << merged.err;
  const Outcome direct = predict({"--format", "csv", tars(), files_[0], files_[1]});
  EXPECT_EQ(slurp(at("out/predictions.csv")), direct.out);
  const json summary = json::parse(slurp(at("out/summary.json")));
  EXPECT_EQ(summary.at("pictures"), files_.size() + 2);
  EXPECT_EQ(summary.at("shards"), 4);
}

TEST_F(ScoringCli, WhatIsMissingIsDoneAndNothingElse) {
  const Words in = {tars(), "--output", at("out"), "--format", "jsonl"};
  const auto run = [&](Words more) {
    more.insert(more.end(), in.begin(), in.end());
    return predict(more);
  };
  ASSERT_EQ(run({}).code, 0);
  ASSERT_EQ(run_program({"predict", "--merge", at("out")}).code, 0);
  const std::string whole = slurp(at("out/predictions.jsonl"));
  EXPECT_EQ(run({}).code, 2) << "the folder is in use";
  // As a kill leaves it: answers without a summary, and a file that was not renamed.
  fs::remove(at("out/shard-000001.json"));
  test::spill(at("out/shard-000001.jsonl"), "half");
  test::spill(at("out/shard-000001.jsonl.tmp-1"), "ha");
  const auto before = fs::last_write_time(at("out/shard-000000.jsonl"));
  const Outcome again = run({"--incremental"});
  ASSERT_EQ(again.code, 0) << again.err;
  EXPECT_TRUE(contains(again.out, "32 pictures, 21 of them by an earlier run")) << again.out;
  EXPECT_EQ(fs::last_write_time(at("out/shard-000000.jsonl")), before);
  ASSERT_EQ(run_program({"predict", "--merge", at("out")}).code, 0);
  EXPECT_EQ(slurp(at("out/predictions.jsonl")), whole);
  const Outcome other = run({"--incremental", "--threshold", ".9"});
  EXPECT_EQ(other.code, 2);
  EXPECT_TRUE(contains(other.err, "other settings")) << other.err;
  test::spill(at("000.tar"), test::tar_of({{"new.jpg", slurp(files_[0])}}));
  const Outcome changed = run({"--incremental"});
  EXPECT_EQ(changed.code, 2);
  EXPECT_TRUE(contains(changed.err, "other pictures")) << changed.err;
}

TEST_F(ScoringCli, WhatChangedSinceIsDoneAnew) {
  std::string list;
  for (const char* name : {"a.jpg", "b.jpg", "late.jpg"}) list += at(name) + "\n";
  test::spill(at("list.txt"), list);
  fs::copy(files_[0], at("a.jpg"));
  fs::copy(files_[1], at("b.jpg"));
  const auto run = [&] {
    return predict({"--input", at("list.txt"), "--output", at("out"), "--incremental"});
  };
  const auto merge = [&] { return run_program({"predict", "--merge", at("out")}); };
  const auto direct = [&] { return predict({"--format", "csv", "--input", at("list.txt")}).out; };
  EXPECT_EQ(run().code, 3) << "one is not there";
  const Outcome unread = merge();
  EXPECT_EQ(unread.code, 3) << unread.err;
  EXPECT_TRUE(contains(unread.err, "1 of 3 pictures could not be read")) << unread.err;
  EXPECT_EQ(slurp(at("out/predictions.csv")), direct());
  fs::copy(files_[2], at("late.jpg"));
  fs::copy(files_.back(), at("a.jpg"), fs::copy_options::overwrite_existing);
  const Outcome changed = run();
  EXPECT_EQ(changed.code, 0) << changed.err;
  EXPECT_TRUE(contains(changed.err, "shard-000000.json: made anew, for its files changed"));
  EXPECT_TRUE(contains(changed.out, "3 pictures, 0 of them by an earlier run")) << changed.out;
  EXPECT_EQ(merge().code, 0);
  EXPECT_EQ(slurp(at("out/predictions.csv")), direct());
  const Outcome same = run();
  EXPECT_TRUE(contains(same.out, "3 of them by an earlier run")) << same.out;
  // Answers that stand are not given up for pictures that are away.
  fs::rename(at("b.jpg"), at("away.jpg"));
  const Outcome away = run();
  EXPECT_EQ(away.code, 2) << away.err;
  EXPECT_TRUE(contains(away.err, "gone")) << away.err;
  EXPECT_EQ(merge().code, 0);
}

TEST_F(ScoringCli, AnswersThatAreNotWhatWasWrittenAreNotMerged) {
  const Words in = {files_[0], files_[1], "--output", at("out"), "--incremental"};
  ASSERT_EQ(predict(in).code, 0);
  const std::string answers = slurp(at("out/shard-000000.csv"));
  test::spill(at("out/shard-000000.csv"), answers.substr(0, answers.size() / 2));
  const Outcome cut = run_program({"predict", "--merge", at("out")});
  EXPECT_EQ(cut.code, 2) << cut.err;
  EXPECT_TRUE(contains(cut.err, "shard-000000.csv: not what was written")) << cut.err;
  EXPECT_FALSE(fs::exists(at("out/predictions.csv")));
  const Outcome again = predict(in);
  EXPECT_EQ(again.code, 0) << again.err;
  EXPECT_EQ(slurp(at("out/shard-000000.csv")), answers);
  EXPECT_EQ(run_program({"predict", "--merge", at("out")}).code, 0);
}

TEST_F(ScoringCli, ATarThatCouldNotBeOpenedIsTriedAgain) {
  fs::rename(at("000.tar"), at("late"));
  const Words in = {tars(), "--output", at("out"), "--incremental"};
  EXPECT_EQ(predict(in).code, 3);
  fs::rename(at("late"), at("000.tar"));
  const Outcome o = predict(in);
  EXPECT_EQ(o.code, 0) << o.err;
  EXPECT_TRUE(contains(o.out, "32 pictures, 21 of them by an earlier run")) << o.out;
}

TEST_F(ScoringCli, WrongUseIsSaid) {
  const std::string picture = files_[0];
  for (const Words& words : std::vector<Words>{{"--part", "0/2", picture},
                                               {"--incremental", picture},
                                               {"--output", at("o"), "--part", "2/2", picture},
                                               {"--output", at("o"), "--part", "x", picture},
                                               {"--output", at("o"), "--format", "json", picture},
                                               {"--input", at("l"), picture},
                                               {"--merge", at("o"), picture}})
    EXPECT_EQ(predict(words).code, 2) << words[0] << " " << words[1];
  EXPECT_EQ(run_program({"predict", "--merge", at("nothing")}).code, 2);
  EXPECT_EQ(predict({"--input", at("absent")}).code, 3);
  {
    const Variable rank("OMPI_COMM_WORLD_RANK", "1"), size("OMPI_COMM_WORLD_SIZE", "3");
    const Outcome mpi = predict({"--output", at("mpi"), picture});
    EXPECT_EQ(mpi.code, 0) << mpi.err;
    EXPECT_TRUE(contains(mpi.err, "part 1 of 3, by OMPI_COMM_WORLD_RANK")) << mpi.err;
    EXPECT_FALSE(fs::exists(at("mpi/shard-000000.csv")));
  }
  const Variable index("JOB_COMPLETION_INDEX", "3");
  const Outcome o = predict({"--output", at("o"), picture});
  EXPECT_EQ(o.code, 2);
  EXPECT_TRUE(contains(o.err, "$(JOB_COMPLETION_INDEX)/N")) << o.err;
}

TEST_F(ScoringCli, TarsWithoutPicturesAreNoAnswer) {
  test::spill(at("none.tar"), test::tar_of({{"a.txt", "x"}, {"b.txt", "x"}}));
  for (const Words& more : {Words{}, Words{"--output", at("none")}}) {
    Words words = {at("none.tar")};
    words.insert(words.end(), more.begin(), more.end());
    const Outcome o = predict(words);
    EXPECT_EQ(o.code, 3) << o.err;
    EXPECT_TRUE(contains(o.err,
                         "no pictures (JPEG, PNG, WebP, BMP) in what was given; passed "
                         "over: 2 .txt"))
        << o.err;
  }
  EXPECT_EQ(predict({at("none.tar"), tars()}).code, 0);
}

}  // namespace
}  // namespace dfengine
