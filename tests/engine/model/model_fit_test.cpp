// Which network a file's tensors are, by their shapes alone.
#include "engine/model/model_fit.h"

#include <gtest/gtest.h>

#include "engine/model/model.h"
#include "kernels/base/error.h"
#include "tests/weights/scratch_folder.h"

namespace dfengine {
namespace {

// Of every width that is tried: the smallest whose base has the file's shapes, and 1 where 1 has.
TEST(ModelFit, WidthIsTheSmallestOfTheSameShapes) {
  std::map<std::vector<std::vector<Index>>, double> smallest;
  const auto tensors_of = [](double width, std::vector<std::vector<Index>>& shapes) {
    NetworkConfig config;
    config.head = Head::None;
    config.width = width;
    weights::TensorFile file;
    for (const ParamSpec& p : make_network(config).graph.params()) {
      shapes.push_back(p.file_shape);
      file.tensors.push_back({p.name, weights::DType::F32, p.file_shape, {}});
    }
    return file;
  };
  std::vector<int> order = {20};  // twentieths
  for (int i = 1; i <= 40; ++i) order.push_back(i);
  for (const int i : order) {
    std::vector<std::vector<Index>> shapes;
    const weights::TensorFile file = tensors_of(i / 20.0, shapes);
    const ModelFit fit = fit_model(file, "FILE");
    EXPECT_EQ(fit.metadata.config.width, smallest.emplace(shapes, i / 20.0).first->second);
    EXPECT_TRUE(fit.complete()) << i << fit.faults();
  }
}

TEST(ModelFit, AnImpossibleQuantizationNamesTheFile) {
  NetworkConfig config;
  config.width = 0.1;
  weights::TensorFile file = model_to_tensors(make_model(config, 1));
  file.metadata["quantization"] = "features.0.0:1:0";
  const auto message = test::message_of<ModelFileError>([&] { (void)fit_model(file, "FILE"); });
  EXPECT_TRUE(message.starts_with("FILE: layer features.")) << message;
}

// Files of the published stride say nothing of it, so that older versions read them.
TEST(ModelFile, TheStemsStrideComesBack) {
  NetworkConfig config;
  config.width = 0.1;
  config.input_size = 96;
  EXPECT_FALSE(model_to_tensors(make_model(config, 1)).metadata.contains("stem_stride"));
  config.stem_stride = 1;
  const Model model = make_model(config, 1);
  weights::TensorFile file = model_to_tensors(model);
  EXPECT_EQ(file.metadata.at("stem_stride"), "1");
  const Model back = model_from_tensors(file, "x");
  EXPECT_EQ(back.config.stem_stride, 1);
  EXPECT_EQ(back.network.graph.infer(std::span(&back.network.image, 1))[3].shape.h, 96);
  file.metadata["stem_stride"] = "3";
  EXPECT_THROW(model_from_tensors(file, "x"), ModelFileError);
}

TEST(ModelFile, TheBandOfUnsureAnswersComesBack) {
  NetworkConfig config;
  config.width = 0.1;
  config.input_size = 96;
  config.head = Head::Detector;
  Model model = make_model(config, 1);
  EXPECT_FALSE(model_to_tensors(model).metadata.contains("unsure_band"));
  model.unsure = UnsureBand{0.1, 1.0 / 3};
  weights::TensorFile file = model_to_tensors(model);
  const Model back = model_from_tensors(file, "x");
  ASSERT_TRUE(back.unsure);
  EXPECT_EQ(back.unsure->from, 0.1);
  EXPECT_EQ(back.unsure->to, 1.0 / 3);
  for (const char* bad :
       {"", "0.1", "0.5,0.4", "0.1,1.5", "-1,0.5", "0.1,nan", "0.1,0.2,0.3", "a,b"}) {
    file.metadata["unsure_band"] = bad;
    EXPECT_THROW(model_from_tensors(file, "x"), ModelFileError) << bad;
  }
}

}  // namespace
}  // namespace dfengine
