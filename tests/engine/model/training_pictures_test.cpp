// On which pictures a model was trained: by its folders and tables, divided, moved, linked, packed.
#include "engine/model/training_pictures.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "engine/data/digest.h"
#include "engine/data/pack.h"
#include "kernels/base/error.h"
#include "tests/engine/data/data_support.h"

namespace dfengine {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using test::TempDir;
using test::thrown_text;
using Paths = std::vector<fs::path>;
using Notes = std::map<std::string, std::string>;

Model small_model() {
  NetworkConfig config;
  config.width = 0.1;
  config.input_size = 96;
  return make_model(config, 1);
}

TEST(TrainingPictures, AreRefused) {
  Model model = small_model();
  model.notes["train_args"] = R"({"data": "/faces"})";
  refuse_training_pictures(model, {"/faces/valid/real/1.jpg", "/faces/trained/1.jpg"}, "v.csv");
  const std::string text = thrown_text([&] {
    refuse_training_pictures(model, {"/faces/valid/1.jpg", "/faces/x/../train/fake/1.jpg"},
                             "v.csv");
  });
  EXPECT_NE(text.find("v.csv: the image model was trained on 1 of its 2 pictures"),
            std::string::npos)
      << text;
  EXPECT_THROW(refuse_training_pictures(model, {"/faces/set/set/train/fake/1.jpg"}, "v.csv"),
               UsageError);
  refuse_training_pictures(model, {"/faces/a/b/c/train/1.jpg", "/other/train/1.jpg"}, "v.csv");
  const TempDir dir;
  dir.write("x/1.jpg", "x");
  const auto table = dir.write("t.csv", "path,label\nx/1.jpg,1\n");
  model.notes["train_args"] = nlohmann::json{{"data", ""}, {"csv", table.string()}}.dump();
  refuse_training_pictures(model, {dir.path() / "train/2.jpg"}, "v.csv");
  EXPECT_THROW(refuse_training_pictures(model, {dir.path() / "x/1.jpg"}, "v.csv"), UsageError);
  // As train writes it: without the folders above.
  model.notes["train_args"] =
      nlohmann::json{{"data", ""}, {"csv", "t.csv"}, {"places", {{"csv", place_digest(table)}}}}
          .dump();
  refuse_training_pictures(model, {dir.path() / "train/2.jpg"}, "v.csv");
  EXPECT_THROW(refuse_training_pictures(model, {dir.path() / "x/1.jpg"}, "v.csv"), UsageError);
  model.notes["train_args"] =
      nlohmann::json{{"data", "faces"}, {"places", {{"data", place_digest("/all/faces")}}}}.dump();
  refuse_training_pictures(model, {"/faces/train/1.jpg", "/all/faces/valid/1.jpg"}, "v.csv");
  EXPECT_THROW(refuse_training_pictures(model, {"/all/faces/train/fake/1.jpg"}, "v.csv"),
               UsageError);
  for (const char* note : {"", "[1", "[]", "{}", R"({"data": 7})"}) {
    model.notes["train_args"] = note;
    refuse_training_pictures(model, {"/faces/train/1.jpg"}, "v.csv");
  }
}

TEST(TrainingPictures, AreFoundWhereTheSetCannotBeOpened) {
  const TempDir dir;
  for (const char* file : {"set/train/1.jpg", "set/test/1.jpg", "set/Training/2.jpg"})
    dir.write(file, "x");
  const auto table = dir.write("set/train.csv", "filename,label\n 1.jpg,1\n");
  const auto set = dir.path() / "set";
  Model model = small_model();
  for (const auto& [data, csv] : {std::pair{std::string(), table.string()},
                                  {set.string(), table.string()},
                                  {table.string(), std::string()}}) {
    model.notes["train_args"] = nlohmann::json{{"data", data}, {"csv", csv}}.dump();
    refuse_training_pictures(model, {set / "test/1.jpg"}, "v.csv");
    EXPECT_THROW(refuse_training_pictures(model, {set / "train/1.jpg"}, "v.csv"), UsageError)
        << data << " " << csv;
  }
  const auto splits =
      dir.write("set/all.csv", "path,label,split\ntrain/1.jpg,1,train\ntest/1.jpg,1,test\n");
  model.notes["train_args"] = nlohmann::json{{"data", ""}, {"csv", splits.string()}}.dump();
  refuse_training_pictures(model, {set / "test/1.jpg"}, "v.csv");
  EXPECT_THROW(refuse_training_pictures(model, {set / "train/1.jpg"}, "v.csv"), UsageError);
  model.notes["train_args"] = nlohmann::json{{"data", set.string()}}.dump();
  refuse_training_pictures(model, {set / "test/train.jpg"}, "v.csv");
  for (const char* folder : {"Training", "train_real", "faces/TRAIN/real"})
    EXPECT_THROW(refuse_training_pictures(model, {set / folder / "2.jpg"}, "v.csv"), UsageError)
        << folder;
}

// As train writes them: of each place the name and a digest.
std::string arguments_of(const DataOptions& options,
                         const std::vector<std::string>& held_out = {}) {
  json args = to_json(options);
  for (const char* key : {"data", "csv"}) {
    const fs::path path = args.at(key).get<std::string>();
    if (path.empty()) continue;
    args["places"][key] = place_digest(path);
    args[key] = path.filename().string();
  }
  args["hold_out_group"] = held_out;
  return args.dump();
}

Notes trained_on(const DataOptions& options, const std::vector<std::string>& held_out = {}) {
  return {{kRunArguments, arguments_of(options, held_out)}};
}

Paths paths_of(const Dataset& dataset) {
  Paths paths;
  for (const Sample& sample : dataset.samples) paths.push_back(dataset.path(sample));
  return paths;
}

// Twelve pictures of each class, of three makers, in DIR/BELOW/CLASS.
void write_set(const TempDir& dir, const std::string& below, Index shift = 0) {
  for (const char* label : {"real", "fake"})
    for (int i = 0; i < 12; ++i)
      dir.write_bmp(fmt::format("{}/{}/m{}/{}.bmp", below, label, i % 3, i),
                    test::pattern(4, 4, shift + Index{31} * i + (*label == 'r' ? 1 : 2)));
}

TEST(TrainingPictures, OfADividedSetAreThoseOfItsTrainPart) {
  const TempDir dir;
  write_set(dir, "flat");
  write_set(dir, "k/train");
  write_set(dir, "k/test", 7);
  std::string rows = "path,label\n";
  for (const Dataset& all = test::split_of(dir.path() / "flat", "all");
       const Sample& s : all.samples)
    rows += fmt::format("flat/{},{}\n", s.relative, s.label == 1 ? "fake" : "real");
  DataOptions flat, k, table;
  flat.data = dir.path() / "flat";
  k.data = dir.path() / "k";
  table.csv = dir.write("all.csv", rows);
  for (DataOptions o : {flat, k, table}) {
    o.fractions = {.5, .5};
    o.seed = 3;
    const DataSource source = open_data(o, {"train", "valid"});
    const Paths train = paths_of(source.splits[0]), valid = paths_of(source.splits[1]);
    ASSERT_EQ(train.size(), 12u);
    const SeenPictures seen = seen_in_training(trained_on(o), train);
    EXPECT_EQ(seen.count, 12u) << o.data << o.csv;
    EXPECT_TRUE(seen.set.ends_with("divided by 0.5,0.5 with --seed 3")) << seen.set;
    EXPECT_EQ(seen_in_training(trained_on(o), valid).count, 0u) << o.data << o.csv;
    DataOptions other = o;
    other.seed = 4;
    const std::size_t wrong =
        seen_in_training(trained_on(o), open_data(other, {"valid"}).splits[0], other).count;
    EXPECT_GT(wrong, 0u);
    EXPECT_LT(wrong, 12u);
  }
}

TEST(TrainingPictures, LeaveOutWhatWasHeldOut) {
  const TempDir dir;
  write_set(dir, "k/train");
  write_set(dir, "k/valid", 7);
  DataOptions o;
  o.data = dir.path() / "k";
  const Paths train = paths_of(test::split_of(o.data, "train"));
  EXPECT_EQ(seen_in_training(trained_on(o), train).count, 24u);
  EXPECT_EQ(seen_in_training(trained_on(o, {"m1"}), train).count, 16u);
}

TEST(TrainingPictures, MayBeLinks) {
  const TempDir dir;
  write_set(dir, "store");
  for (const char* label : {"real", "fake"})
    for (const char* split : {"train", "valid"}) {
      const fs::path folder = dir.path() / "k" / split / label;
      fs::create_directories(folder);
      fs::create_symlink(dir.path() / "store" / label / (*split == 't' ? "m0/0.bmp" : "m1/1.bmp"),
                         folder / "1.bmp");
    }
  DataOptions o;
  o.data = dir.path() / "k";
  for (const char* picture : {"k/train/real/1.bmp", "store/real/m0/0.bmp"})
    EXPECT_EQ(seen_in_training(trained_on(o), Paths{dir.path() / picture}, {o.data}).count, 1u)
        << picture;
  for (const char* picture : {"k/valid/real/1.bmp", "store/real/m1/1.bmp"})
    EXPECT_EQ(seen_in_training(trained_on(o), Paths{dir.path() / picture}, {o.data}).count, 0u)
        << picture;
}

TEST(TrainingPictures, OfAPackAreTheFilesThatItWasMadeOf) {
  const TempDir dir;
  for (const char* split : {"train", "valid"}) {
    write_set(dir, std::string("k/") + split);
    write_set(dir, std::string("other/") + split);
  }
  dir.write_bmp("other/train/real/m0/0.bmp", test::pattern(5, 5));
  DataOptions o;
  o.data = dir.path() / "k.dfpack";
  ThreadPool pool(1);
  write_pack(o.data,
             {test::split_of(dir.path() / "k", "train"), test::split_of(dir.path() / "k", "valid")},
             {.size = 8}, pool, [](Index, Index) { return true; });
  const auto count = [&](const char* set, const char* split) {
    return seen_in_training(trained_on(o), paths_of(test::split_of(dir.path() / set, split))).count;
  };
  EXPECT_EQ(count("k", "train"), 24u);
  EXPECT_EQ(count("k", "valid"), 0u);
  EXPECT_EQ(count("other", "train"), 0u) << "other pictures of the same names";
  EXPECT_EQ(seen_in_training(trained_on(o), open_pack(o.data, {"train"})[0], o).count, 24u);
}

TEST(TrainingPictures, OfEarlierRunsCountToo) {
  const TempDir dir;
  DataOptions first, second;
  first.data = dir.path() / "a";
  second.data = dir.path() / "b";
  for (const char* below : {"a/train", "a/valid", "b/train", "b/valid"}) write_set(dir, below);
  std::vector<Model> runs;
  for (const DataOptions* o : {&first, &second}) {
    runs.push_back(small_model());
    runs.back().notes = trained_on(*o);
  }
  Model made = small_model(), tuned = small_model(), untrained = small_model();
  note_earlier_runs(made, runs);
  tuned.notes = trained_on(second);
  note_earlier_runs(tuned, {&made, 1});
  for (const Model* model : {&made, &tuned})
    for (const DataOptions* o : {&first, &second}) {
      EXPECT_EQ(seen_in_training(model->notes, test::split_of(o->data, "train"), *o).count, 24u);
      EXPECT_EQ(seen_in_training(model->notes, test::split_of(o->data, "valid"), *o).count, 0u);
    }
  EXPECT_EQ(seen_in_training(runs[0].notes, test::split_of(second.data, "train"), second).count,
            0u);
  note_earlier_runs(untrained, {&untrained, 1});
  EXPECT_TRUE(untrained.notes.empty());
  for (const char* note : {"", "[", "{}", "[7]", "[\"\"]", R"(["{\"data\": {\"hex\": \"x\"}}"])"})
    EXPECT_EQ(
        seen_in_training({{kEarlierArguments, note}}, Paths{dir.path() / "a/1.bmp", ""}).count, 0u);
}

}  // namespace
}  // namespace dfengine
