// Files that are no metadata models, and tables that give none: what is said of them.
#include <gtest/gtest.h>

#include "engine/tables/metadata/metadata_model.h"
#include "kernels/base/error.h"
#include "tests/engine/data/data_support.h"

namespace dfengine {
namespace {

using test::TempDir;
using test::thrown_text;

CsvTable small_table() {
  return parse_csv("size\n1\n2\n3\n4\n", "t");
}

TEST(MetadataModel, AFileThatIsNoneIsSaidInWords) {
  const TempDir dir;
  const auto said_of = [&](const std::string& text) {
    const std::filesystem::path file = dir.write("m.json", text);
    const std::string said = thrown_text([&] { load_metadata_model(file); });
    EXPECT_EQ(said.find("exception"), std::string::npos) << said;
    return said;
  };
  for (const char* text : {"{}", "[]", "7", R"({"epochs": 3})", R"({"format": 7})"})
    EXPECT_NE(said_of(text).find("is no metadata.json of metadata train"), std::string::npos)
        << text;
  for (const std::string& text : {std::string("weights"), std::string(100, '[')})
    EXPECT_NE(said_of(text).find("is no JSON"), std::string::npos) << text;
  EXPECT_NE(said_of(R"({"format": "dfengine metadata 1", "metadata": {"columns": []}})")
                .find("is not as dfengine writes it: key 'weights' not found"),
            std::string::npos);
  // The folder that metadata train writes stands for the file in it.
  const CsvTable table = small_table();
  const MetadataModel m = fit_metadata(table, {0, 0, 1, 1}, {"size"}, "t");
  save_metadata_model(dir.path() / kMetadataFile, m);
  EXPECT_EQ(load_metadata_model(dir.path()).logits(table, "t"), m.logits(table, "t"));
}

TEST(MetadataModel, WithoutColumnsNothingIsFitted) {
  EXPECT_NE(thrown_text([&] {
              fit_metadata(small_table(), {0, 0, 1, 1}, {}, "t.csv");
            }).find("t.csv: no column is left to fit on"),
            std::string::npos);
}

}  // namespace
}  // namespace dfengine
