// The model card of a run: its head is YAML that hubs take, its figures are the run's.
#include "engine/report/export/model_card.h"

#include <gtest/gtest.h>

#include "tests/weights/scratch_folder.h"

namespace dfengine {
namespace {

using report::model_card;

class ModelCard : public testing::Test {
 protected:
  ModelCard() {
    result_.options.data = "/data/my \"faces\"/";
    result_.options.weights = "/w/mobilenet_v2-b0353104.pth";
    result_.options.output = folder_.path();
    result_.splits.resize(2);
    result_.splits[0].samples.resize(30);
    result_.splits[1].samples.resize(7);
    result_.state.rows = {{.epoch = 1, .valid_auc = 0.7},
                          {.epoch = 2, .valid_accuracy = 0.75, .valid_auc = 0.8125}};
    result_.state.best_epoch = 2;
    result_.data_digest = "d1";
  }
  bool has(const std::string& part) const {
    return model_card(result_, kept_).find(part) != std::string::npos;
  }

  test::ScratchFolder folder_;
  TrainResult result_;
  Model kept_ = make_model({.width = 0.1, .input_size = 96}, 1);
};

TEST_F(ModelCard, SaysWhatHubsAskFor) {
  const std::string card = model_card(result_, kept_);
  ASSERT_TRUE(card.starts_with("---\n"));
  const std::string head = card.substr(4, card.find("\n---\n") - 4);
  for (const char* line :
       {"library_name: dfengine", "pipeline_tag: image-classification", "license: other",
        "base_model: \"mobilenet_v2-b0353104.pth\"", "- \"my \\\"faces\\\"\"", "- roc_auc",
        "value: 0.8125", "value: 0.7500", "type: image-classification"})
    EXPECT_NE(head.find(line), std::string::npos) << line << "\n" << head;
  EXPECT_EQ(head.find('\t'), std::string::npos);
  for (const char* part : {"30 pictures to train and 7 to validate", "## Limits", "## Licence",
                           "best.safetensors", "96 x 96", "`d1`"})
    EXPECT_NE(card.find(part), std::string::npos) << part;
  EXPECT_EQ(card.find("0.7000"), std::string::npos) << "another epoch's figure";
}

TEST_F(ModelCard, LeavesOutABaseThatThereIsNot) {
  result_.options.weights.clear();
  EXPECT_FALSE(has("base_model"));
  EXPECT_TRUE(has("Base weights: `none`"));
}

TEST_F(ModelCard, DoesNotOverwriteAPersonsWork) {
  report::write_model_card(result_, kept_);
  const auto file = folder_.path() / report::kModelCard;
  EXPECT_EQ(test::slurp(file), model_card(result_, kept_));
  result_.splits[0].samples.resize(31);
  report::write_model_card(result_, kept_);
  EXPECT_EQ(test::slurp(file), model_card(result_, kept_)) << "nobody has touched it";
  test::spill(file, "---\nlicense: mit\n---\nmine\n");
  report::write_model_card(result_, kept_);
  EXPECT_EQ(test::slurp(file), "---\nlicense: mit\n---\nmine\n");
}

}  // namespace
}  // namespace dfengine
