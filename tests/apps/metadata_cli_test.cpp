// dfengine metadata, hybrid, cascade and predict --csv on drawn pictures with a table beside them.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <map>

#include "kernels/base/random.h"
#include "tests/apps/cli_support.h"

namespace dfengine {
namespace {

using nlohmann::json;
using test::contains;
using test::Outcome;
using test::parse_csv;
using test::run_program;
using test::ScratchFolder;
using test::slurp;
using test::spill;

// Tables over the shared pictures: "size" tells half of the rows, "noise" none, "code" and the
// paths give the label away.
class MetadataCli : public testing::Test {
 protected:
  void SetUp() override {
    for (const auto& entry :
         std::filesystem::recursive_directory_iterator(test::picture_set() + "/train"))
      if (entry.is_regular_file()) pictures_.push_back(entry.path());
    std::ranges::sort(pictures_, {}, [](const auto& p) { return p.filename(); });
    write("train.csv", 0);
    write("valid.csv", 1);
    write("test.csv", 2);
  }

  // Every picture several times: rows are what counts here. Each table has links of its own to
  // them.
  void write(const std::string& name, std::uint64_t seed) {
    Random random(seed, RandomStream::Synth, 0);
    std::string text = ",id,size,noise,code,label,path\n";
    const std::filesystem::path links = folder_.path() / name.substr(0, name.find('.'));
    std::filesystem::create_directories(links);
    for (const auto& picture : pictures_)
      std::filesystem::create_symlink(picture, links / picture.filename());
    for (int i = 0; i < 160; ++i) {
      const auto& picture = pictures_[random.below(static_cast<std::uint32_t>(pictures_.size()))];
      const bool fake = picture.parent_path().filename() == "fake";
      text += fmt::format("{},row{},{},{},{},{},{}\n", i, random.bits(),
                          (fake ? 50 : 0) + random.below(100), random.below(1000), fake ? "x" : "y",
                          fake ? "fake" : "real", (links / picture.filename()).string());
    }
    spill(folder_.path() / name, text);
  }

  std::string file(const std::string& name) const { return (folder_.path() / name).string(); }

  Outcome run(std::vector<std::string> arguments) const {
    arguments.insert(arguments.end(), {"--data", test::picture_set()});
    // It looks at no picture.
    if (arguments[0] != "metadata" || arguments[1] != "eval")
      arguments.insert(arguments.end(), {"--threads", "1"});
    return run_program(arguments);
  }

  Outcome train(const std::vector<std::string>& more = {}) const {
    std::vector<std::string> all = {"metadata",   "train",          "--csv",    file("train.csv"),
                                    "--test-csv", file("test.csv"), "--output", file("run")};
    all.insert(all.end(), more.begin(), more.end());
    return run(all);
  }

  ScratchFolder folder_;
  std::vector<std::filesystem::path> pictures_;
};

TEST_F(MetadataCli, TrainNamesLeaksAndCompares) {
  const Outcome o = train({"--image-model", test::model_file(), "--valid-csv", file("valid.csv"),
                           "--keep-leaks", "--file-properties"});
  ASSERT_EQ(o.code, 0) << o.err;
  for (const char* line :
       {"column '': numeric", "LEAK, left out: counts the rows",
        "column 'code': categorical, AUC alone 1.000; LEAK", "column 'size': numeric",
        "column 'file:bytes': numeric", "column 'file:width': constant"})
    EXPECT_TRUE(contains(o.out, line)) << line << "\n" << o.out;
  const auto rows = parse_csv(slurp(file("run/comparison.csv")));
  ASSERT_EQ(rows.size(), 6u) << o.out;
  for (std::size_t i : {1u, 2u, 3u, 4u, 5u}) EXPECT_EQ(rows[i][1], "160");
  EXPECT_EQ(rows[1][0], "metadata");
  EXPECT_GT(std::stod(rows[1][6]), 0.7);  // ROC-AUC
  EXPECT_LT(std::stod(rows[1][6]), 0.95);
  EXPECT_EQ(rows[2][0], "image");
  EXPECT_EQ(rows[3][0], "both");
  EXPECT_GT(std::stod(rows[3][6]), std::stod(rows[2][6]));
  EXPECT_EQ(rows[4][0], "metadata, leaks kept");
  EXPECT_EQ(rows[4][6], "1.000000");

  const Outcome e =
      run({"metadata", "eval", "--model", file("run/metadata.json"), "--csv", file("test.csv")});
  ASSERT_EQ(e.code, 0) << e.err;
  EXPECT_TRUE(contains(e.out, fmt::format("metadata  {:.4f}", std::stod(rows[1][2])))) << e.out;
}

TEST_F(MetadataCli, HybridAndCascadeShareOneFileThatPredictReads) {
  ASSERT_EQ(train().code, 0);
  const Outcome h =
      run({"hybrid", "train", "--model", test::model_file(), "--csv", file("valid.csv"),
           "--test-csv", file("test.csv"), "--output", file("h.safetensors")});
  ASSERT_EQ(h.code, 0) << h.err;
  EXPECT_TRUE(contains(h.out, "metadata is used")) << h.out;
  const Outcome c =
      run({"cascade", "--model", file("h.safetensors"), "--metadata", file("run/metadata.json"),
           "--csv", file("valid.csv"), "--test-csv", file("test.csv"), "--max-error", "0.2",
           "--output", file("c.safetensors")});
  ASSERT_EQ(c.code, 0) << c.err;
  EXPECT_TRUE(contains(c.out, "metadata decides ")) << c.out;
  EXPECT_TRUE(contains(c.out, "milliseconds per picture")) << c.out;

  const Outcome p = run(
      {"predict", "--model", file("c.safetensors"), "--csv", file("test.csv"), "--format", "csv"});
  ASSERT_EQ(p.code, 0) << p.err;
  const auto rows = parse_csv(p.out);
  ASSERT_EQ(rows.size(), 161u);
  EXPECT_EQ(rows[0],
            (std::vector<std::string>{"path", "prob_fake", "verdict", "decided_by", "error"}));
  std::map<std::string, int> sources;
  for (std::size_t i = 1; i < rows.size(); ++i) ++sources[rows[i][3]];
  EXPECT_GT(sources["metadata"], 20) << c.out;
  EXPECT_EQ(sources["metadata"] + sources["hybrid"], 160);

  const Outcome j = run(
      {"predict", "--model", file("h.safetensors"), "--csv", file("test.csv"), "--format", "json"});
  ASSERT_EQ(j.code, 0) << j.err;
  const json all = json::parse(j.out);
  ASSERT_EQ(all["results"].size(), 160u);
  EXPECT_EQ(all["results"][0]["decided_by"], "hybrid");
  EXPECT_EQ(all.at("threshold"), 0.5);
  for (const json& row : all["results"])
    EXPECT_EQ(row.at("verdict") == "fake", row.at("prob_fake") >= all.at("threshold"));
  const Outcome plain = run(
      {"predict", "--model", test::model_file(), "--csv", file("test.csv"), "--format", "json"});
  EXPECT_EQ(json::parse(plain.out).at("threshold"), 0.4375) << plain.err;
  const Outcome shown =
      run({"predict", "--model", file("h.safetensors"), "--csv", file("test.csv")});
  EXPECT_TRUE(contains(shown.out, "decided by  path (threshold 0.5)")) << shown.out;
  // A picture that is not there: its row says so, the others are answered.
  std::string table = slurp(file("test.csv"));
  table.replace(table.find(rows[1][0]), rows[1][0].size(), "none.jpg");
  spill(file("missing.csv"), table);
  const Outcome m = run({"predict", "--model", file("h.safetensors"), "--csv", file("missing.csv"),
                         "--format", "csv"});
  EXPECT_EQ(m.code, 3) << m.err;
  const auto answers = parse_csv(m.out);
  ASSERT_EQ(answers.size(), 161u);
  EXPECT_TRUE(answers[1][1].empty() && contains(answers[1][4], "none.jpg")) << m.out;
  for (std::size_t i = 2; i < answers.size(); ++i) EXPECT_EQ(answers[i][4], "");
  // Pictures alone still go through the image model, which is said.
  const Outcome alone = run_program(
      {"predict", "--model", file("c.safetensors"), "--threads", "1", pictures_[0].string()});
  EXPECT_EQ(alone.code, 0);
  EXPECT_TRUE(contains(alone.err, "the image alone answers")) << alone.err;
  EXPECT_TRUE(contains(alone.err, "size")) << alone.err;
  const Outcome measured = run({"eval", "--model", file("h.safetensors")});
  EXPECT_EQ(measured.code, 0) << measured.err;
  EXPECT_TRUE(contains(measured.err, "the image alone answers")) << measured.err;
  EXPECT_FALSE(contains(p.err, "the image alone answers")) << p.err;
  for (const std::vector<std::string>& words : std::vector<std::vector<std::string>>{
           {"convert", file("h.safetensors"), file("h.onnx")},
           {"explain", "--model", file("h.safetensors"), "--output", file("maps"),
            pictures_[0].string()},
           {"compare", "--paired", test::model_file(), file("h.safetensors"), "--data",
            test::picture_set()}}) {
    const Outcome o = run_program(words);
    EXPECT_EQ(o.code, 0) << o.err;
    EXPECT_TRUE(contains(o.err, "h.safetensors: this model also reads columns")) << o.err;
  }
}

TEST_F(MetadataCli, RefusesWhatWouldFlatter) {
  const Outcome o =
      run({"hybrid", "train", "--model", (test::trained_run() / "best.safetensors").string(),
           "--csv", file("valid.csv"), "--output", file("h.safetensors")});
  EXPECT_EQ(o.code, 2);
  EXPECT_TRUE(contains(o.err, "the image model was trained on 160 of its 160 pictures")) << o.err;
  EXPECT_FALSE(std::filesystem::exists(file("h.safetensors")));
  ASSERT_EQ(train().code, 0);
  const Outcome c =
      run({"cascade", "--model", test::model_file(), "--metadata", file("run/metadata.json"),
           "--csv", file("train.csv"), "--output", file("c.safetensors")});
  EXPECT_EQ(c.code, 2);
  EXPECT_TRUE(contains(c.err, "was fitted on this very table")) << c.err;
  // Nor is it measured there, also where the hybrid wants columns that the table lacks.
  const Outcome h = run({"hybrid", "train", "--model", test::model_file(), "--csv",
                         file("test.csv"), "--file-properties", "--output", file("h.safetensors")});
  ASSERT_EQ(h.code, 0) << h.err;
  for (const char* model : {"h.safetensors", "plain"}) {
    const Outcome t = run({"cascade", "--model", *model == 'h' ? file(model) : test::model_file(),
                           "--metadata", file("run"), "--csv", file("valid.csv"), "--test-csv",
                           file("train.csv"), "--output", file("c.safetensors")});
    EXPECT_EQ(t.code, 2) << t.out;
    EXPECT_TRUE(contains(t.err, "was fitted on this very table")) << t.err;
  }
  const Outcome e = run({"metadata", "eval", "--model", file("run"), "--csv", file("train.csv")});
  EXPECT_EQ(e.code, 2) << e.out;
  EXPECT_TRUE(contains(e.err, "was fitted on this very table")) << e.err;
}

TEST_F(MetadataCli, NothingIsComparedOnWhatItWasFittedOn) {
  // One row is another: the tables are not the same, but their pictures are.
  std::string text = slurp(file("valid.csv"));
  spill(file("like_valid.csv"), text.substr(0, text.rfind('\n', text.size() - 2) + 1));
  ASSERT_EQ(train().code, 0);
  const std::string& model = test::model_file();
  const std::string out = file("o.safetensors");
  for (const char* other : {"valid.csv", "like_valid.csv"}) {
    const std::vector<std::vector<std::string>> commands = {
        {"hybrid", "train", "--model", model},
        {"cascade", "--model", model, "--metadata", file("run/metadata.json")},
        {"metadata", "train"}};
    for (std::vector<std::string> words : commands) {
      words.insert(words.end(),
                   {"--csv", file("valid.csv"), "--test-csv", file(other), "--output", out});
      const Outcome o = run(words);
      EXPECT_EQ(o.code, 2) << words[0] << o.out;
      EXPECT_TRUE(contains(o.err, "valid.csv and ") && contains(o.err, other)) << o.err;
      EXPECT_TRUE(contains(o.err, "are better than on")) << o.err;
      EXPECT_FALSE(std::filesystem::exists(out)) << words[0];
    }
  }
}

TEST_F(MetadataCli, WithoutThePicturesRowsAreHeldApart) {
  std::string one = "path,size,label\n", other = one;
  for (int i = 0; i < 40; ++i) {
    const std::string label = i % 2 == 0 ? "real" : "fake";
    const int size = i / 2 * 7 % 19 + i % 2;  // says little of the label
    one += fmt::format("gone/{}.jpg,{},{}\n", i, size, label);
    // Other pictures of the same names, but for the last one.
    other += fmt::format("gone/{}.jpg,{},{}\n", i, size + (i < 39 ? 5 : 0), label);
  }
  spill(folder_.path() / "train.csv", one);
  spill(folder_.path() / "test.csv", other);
  const Outcome o = train();
  EXPECT_EQ(o.code, 2) << o.out;
  EXPECT_TRUE(contains(o.err, "train.csv and ") && contains(o.err, "share 1 of their rows"))
      << o.err;
  spill(folder_.path() / "test.csv", other.substr(0, other.rfind("gone/39")));
  EXPECT_EQ(train().code, 0);
}

TEST_F(MetadataCli, ClassesMayHaveNamesOfTheirOwn) {
  for (const char* name : {"train.csv", "test.csv"}) {
    std::string text = slurp(file(name));
    for (std::size_t at = 0; (at = text.find(",fake,", at)) != text.npos;)
      text.replace(at, 6, ",gen,");
    for (std::size_t at = 0; (at = text.find(",real,", at)) != text.npos;)
      text.replace(at, 6, ",orig,");
    spill(folder_.path() / name, text);
  }
  EXPECT_EQ(train().code, 3);
  const Outcome o = train({"--classes", "orig,gen"});
  EXPECT_EQ(o.code, 0) << o.err;
}

TEST_F(MetadataCli, PredictAsksForNoLabels) {
  spill(folder_.path() / "p.csv",
        "path,category,class,fake,real\n" + pictures_[0].string() + ",a,b,0.1,0.9\n");
  const Outcome o =
      run({"predict", "--model", test::model_file(), "--csv", file("p.csv"), "--format", "csv"});
  ASSERT_EQ(o.code, 0) << o.err;
  EXPECT_EQ(parse_csv(o.out).size(), 2u) << o.out;
}

TEST_F(MetadataCli, APictureWithBothLabelsIsRefused) {
  std::string text = slurp(file("valid.csv"));
  const std::string row =
      text.substr(text.find('\n') + 1, text.find('\n', text.find('\n') + 1) - text.find('\n') - 1);
  const bool fake = contains(row, ",fake,");
  std::string turned = row;
  turned.replace(turned.find(fake ? ",fake," : ",real,"), 6, fake ? ",real," : ",fake,");
  spill(file("valid.csv"), text + turned + "\n");
  const Outcome o = run({"hybrid", "train", "--model", test::model_file(), "--csv",
                         file("valid.csv"), "--output", file("h.safetensors")});
  EXPECT_EQ(o.code, 3);
  EXPECT_TRUE(contains(o.err, "another label to a picture")) << o.err;
}

// Fields of garbage are counted and named wherever a detector reads a table, and more than half of
// a column of them is an error.
TEST_F(MetadataCli, FieldsThatAreNoNumbersAreNamed) {
  ASSERT_EQ(train().code, 0);
  ASSERT_EQ(run({"hybrid", "train", "--model", test::model_file(), "--csv", file("valid.csv"),
                 "--output", file("h.safetensors")})
                .code,
            0);
  const auto spoil = [&](const std::string& name, int every) {
    auto rows = parse_csv(slurp(file("test.csv")));
    std::string text;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      if (i > 0 && static_cast<int>(i) % every == 0) rows[i][2] = "abc";
      for (std::size_t c = 0; c < rows[i].size(); ++c) text += (c > 0 ? "," : "") + rows[i][c];
      text += "\n";
    }
    spill(folder_.path() / name, text);
  };
  spoil("some.csv", 10);
  spoil("all.csv", 1);
  const std::vector<std::string> eval = {"metadata", "eval", "--model", file("run"), "--csv"},
                                 predict = {"predict", "--model", file("h.safetensors"), "--csv"};
  for (std::vector<std::string> words : {eval, predict}) {
    words.push_back(file("some.csv"));
    const Outcome some = run(words);
    EXPECT_EQ(some.code, 0) << some.err;
    EXPECT_TRUE(contains(some.err,
                         "16 of 160 fields of column 'size' are no numbers, first 'abc' in "
                         "line 11"))
        << some.err;
    words.back() = file("all.csv");
    const Outcome all = run(words);
    EXPECT_EQ(all.code, 3) << all.out;
    EXPECT_TRUE(contains(all.err, "160 of 160 fields of column 'size'")) << all.err;
    EXPECT_EQ(all.out, "");
  }
}

TEST_F(MetadataCli, NothingIsTrainedWithoutAColumn) {
  const Outcome o = train({"--exclude", "size,noise"});
  EXPECT_EQ(o.code, 3) << o.out;
  EXPECT_TRUE(contains(o.err, "no column is left to fit on")) << o.err;
  EXPECT_TRUE(contains(o.out, "column 'code': categorical")) << o.out;
  EXPECT_FALSE(std::filesystem::exists(file("run")));
}

TEST_F(MetadataCli, UsageAndBadData) {
  EXPECT_EQ(run_program({"metadata"}).code, 2);
  EXPECT_EQ(run_program({"hybrid"}).code, 2);
  EXPECT_EQ(run_program({"predict", "--model", test::model_file()}).code, 2);
  EXPECT_EQ(train({"--exclude", "colour"}).code, 2);
  EXPECT_EQ(train({"--image-model", test::model_file()}).code, 2);  // and no --valid-csv
  spill(folder_.path() / "train.csv", "size,label\n1,real\n2,real\n");
  EXPECT_EQ(train().code, 3);
  spill(folder_.path() / "bad.json", "{}");
  EXPECT_EQ(run({"metadata", "eval", "--model", file("bad.json"), "--csv", file("test.csv")}).code,
            4);
}

}  // namespace
}  // namespace dfengine
