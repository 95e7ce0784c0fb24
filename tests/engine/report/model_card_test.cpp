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
    result_.splits[0].split = "train";
    for (int i = 0; i < 31; ++i)
      result_.splits[0].samples.push_back({std::to_string(i) + ".jpg", i % 2});
    result_.state.bad_files = {{"train", "7.jpg", "no picture"}, {"valid", "8.jpg", "no picture"}};
    result_.state.rows = {{.epoch = 1, .valid_auc = 0.7},
                          {.epoch = 2, .valid_loss = 0.9, .valid_accuracy = 0.75}};
    result_.state.best_epoch = 2;
    result_.data_digest = "d1";
    kept_.threshold = 0.25;
    // Of the pairs of a real and a fake one 13 of 16 are in order; at .25 three are wrong.
    valid_.logit = {-3, -2, -1, 0.5, -2.5, 1, 2, 3};
    valid_.label = {0, 0, 0, 0, 1, 1, 1, 1};
    for (const double logit : valid_.logit) valid_.prob.push_back(kept_.probability(logit));
  }
  bool has(const std::string& part) const {
    return model_card(result_, kept_, valid_).find(part) != std::string::npos;
  }

  test::ScratchFolder folder_;
  TrainResult result_;
  Predictions valid_;
  Model kept_ = make_model({.width = 0.1, .input_size = 96}, 1);
};

TEST_F(ModelCard, SaysWhatHubsAskFor) {
  const std::string card = model_card(result_, kept_, valid_);
  ASSERT_TRUE(card.starts_with("---\n"));
  const std::string head = card.substr(4, card.find("\n---\n") - 4);
  for (const char* line :
       {"library_name: dfengine", "pipeline_tag: image-classification", "license: other",
        "base_model: \"mobilenet_v2-b0353104.pth\"", "- \"my \\\"faces\\\"\"", "- roc_auc",
        "value: 0.8125", "value: 0.6250", "type: image-classification"})
    EXPECT_NE(head.find(line), std::string::npos) << line << "\n" << head;
  EXPECT_EQ(head.find('\t'), std::string::npos);
  for (const char* part : {"30 pictures to train and 8 to validate", "## Limits", "## Licence",
                           "best.safetensors", "96 x 96", "`d1`"})
    EXPECT_NE(card.find(part), std::string::npos) << part;
  EXPECT_EQ(card.find("0.7000"), std::string::npos) << "another epoch's figure";
  EXPECT_EQ(card.find("0.7500"), std::string::npos) << "not at the threshold";
  EXPECT_EQ(card.find("0.9000"), std::string::npos) << "before calibration";
}

TEST_F(ModelCard, LeavesOutABaseThatThereIsNot) {
  result_.options.weights.clear();
  EXPECT_FALSE(has("base_model"));
  EXPECT_TRUE(has("Base weights: `none`"));
}

TEST_F(ModelCard, DoesNotOverwriteAPersonsWork) {
  report::write_model_card(result_, kept_, valid_);
  const auto file = folder_.path() / report::kModelCard;
  EXPECT_EQ(test::slurp(file), model_card(result_, kept_, valid_));
  result_.splits[0].samples.resize(20);
  report::write_model_card(result_, kept_, valid_);
  EXPECT_EQ(test::slurp(file), model_card(result_, kept_, valid_)) << "nobody has touched it";
  test::spill(file, "---\nlicense: mit\n---\nmine\n");
  report::write_model_card(result_, kept_, valid_);
  EXPECT_EQ(test::slurp(file), "---\nlicense: mit\n---\nmine\n");
}

}  // namespace
}  // namespace dfengine
