// The graph: building, names, shape inference and what it says when shapes do not fit.
#include "layers/graph.h"

#include <gtest/gtest.h>

#include <cmath>
#include <memory>

#include "kernels/base/error.h"
#include "layers/batch_norm.h"
#include "layers/depthwise_conv.h"
#include "layers/elementwise.h"
#include "layers/head.h"
#include "layers/pointwise_conv.h"
#include "layers/stem_conv.h"

namespace dfengine {
namespace {

Spec spec(Index n, Index h, Index w, Index c, Element element = Element::F32) {
  return {{n, h, w, c}, element};
}

// The ShapeError's text; a failure where none is thrown.
std::string shape_error(const auto& call) {
  try {
    call();
  } catch (const ShapeError& e) {
    return e.what();
  }
  ADD_FAILURE() << "no ShapeError";
  return "";
}

void expect_refused(const Layer& layer, const std::vector<Spec>& in,
                    const std::vector<std::string>& words) {
  const std::string text = shape_error([&] { (void)layer.infer(in); });
  EXPECT_NE(text.find("layer " + layer.name() + ":"), std::string::npos) << text;
  for (const std::string& word : words)
    EXPECT_NE(text.find(word), std::string::npos) << text << ", without " << word;
}

TEST(Graph, InfersTheShapesOfASmallNetwork) {
  Graph graph;
  const ValueId images = graph.add_input("images");
  ValueId x = graph.add(std::make_shared<ImageNormalize>("normalize", std::array{0., 0., 0.},
                                                         std::array{1., 1., 1.}, Element::F32),
                        {images});
  const ValueId stem =
      graph.add(std::make_shared<StemConv>("stem", "stem.weight", 8, Padding::Torch), {x});
  const ValueId narrow =
      graph.add(std::make_shared<DepthwiseConv>("dw", "dw.weight", 8, 2, Padding::TfSame), {stem});
  x = graph.add(std::make_shared<PointwiseConv>("pw", "pw.weight", 8, 5), {narrow});
  const ValueId pooled = graph.add(std::make_shared<GlobalAveragePool>("pool"), {x});
  graph.mark_output(pooled, "features");
  const auto specs = graph.infer(std::vector{spec(2, 9, 6, 3, Element::U8)});
  const auto of = [&](ValueId v) { return specs[static_cast<std::size_t>(v)]; };
  EXPECT_EQ(of(stem), spec(2, 5, 3, 8));
  EXPECT_EQ(of(narrow), spec(2, 3, 2, 8));
  EXPECT_EQ(of(x), spec(2, 3, 2, 5));
  EXPECT_EQ(of(graph.output("features")), spec(2, 1, 1, 5));
  EXPECT_EQ(graph.input("images"), images);
  EXPECT_EQ(graph.consumer_counts(), (std::vector<int>{1, 1, 1, 1, 1, 0}));
}

TEST(Graph, NamesThatAreNotThere) {
  Graph graph;
  graph.mark_output(graph.add_input("x"), "y");
  EXPECT_THROW((void)graph.input("y"), UsageError);
  EXPECT_THROW((void)graph.output("x"), UsageError);
}

TEST(Graph, ValuesThatAreNotThere) {
  Graph graph;
  const ValueId x = graph.add_input("x");
  const auto add = std::make_shared<ResidualAdd>("add");
  EXPECT_THROW(graph.add(add, {x, 1}), UsageError);
  EXPECT_THROW(graph.add(add, {-1, x}), UsageError);
  EXPECT_THROW(graph.add(add, {x, x, x}), UsageError);
  EXPECT_THROW(graph.mark_output(1, "y"), UsageError);
  EXPECT_THROW(graph.mark_output(-1, "y"), UsageError);
}

TEST(Graph, WrongNumberOfInputShapes) {
  Graph graph;
  graph.add_input("x");
  EXPECT_THROW((void)graph.infer({}), ShapeError);
}

TEST(Graph, SharedParametersAreListedOnce) {
  Graph graph;
  const ValueId x = graph.add_input("x");
  graph.add(std::make_shared<Dense>("fc", 3, 3, Activation::None), {x});
  graph.add(std::make_shared<Dense>("fc", 3, 3, Activation::None), {x});
  ASSERT_EQ(graph.params().size(), 2u);
  EXPECT_EQ(graph.params()[1].name, "fc.bias");
}

TEST(LayerShapes, ErrorsNameTheLayerAndTheShapes) {
  expect_refused(StemConv("a.stem", "w", 8, Padding::Torch), {spec(1, 8, 8, 4)}, {"[1, 8, 8, 4]"});
  expect_refused(DepthwiseConv("a.dw", "w", 8, 1, Padding::Torch), {spec(1, 8, 8, 7)},
                 {"8", "[1, 8, 8, 7]"});
  expect_refused(PointwiseConv("a.pw", "w", 8, 16), {spec(1, 8, 8, 7)}, {"8", "[1, 8, 8, 7]"});
  expect_refused(BatchNorm("a.bn", 8, {}), {spec(1, 8, 8, 7)}, {"8", "[1, 8, 8, 7]"});
  expect_refused(Dense("fc", 8, 2, Activation::None), {spec(1, 2, 1, 8)}, {"[1, 2, 1, 8]"});
  expect_refused(Dense("fc", 8, 2, Activation::None), {spec(1, 1, 1, 9)}, {"[1, 1, 1, 9]"});
  expect_refused(ResidualAdd("add"), {spec(1, 2, 2, 8), spec(1, 2, 2, 9)},
                 {"[1, 2, 2, 8]", "[1, 2, 2, 9]"});
  expect_refused(BceLoss("loss"), {spec(2, 1, 1, 2), spec(2, 1, 1, 2)}, {"[2, 1, 1, 2]"});
  expect_refused(BceLoss("loss"), {spec(2, 1, 1, 1), spec(3, 1, 1, 1)}, {"[3, 1, 1, 1]"});
  expect_refused(ImageNormalize("norm", {}, {1, 1, 1}, Element::F32), {spec(1, 8, 8, 3)},
                 {"uint8", "[1, 8, 8, 3]"});
  expect_refused(ImageNormalize("norm", {}, {1, 1, 1}, Element::F32),
                 {spec(1, 8, 8, 4, Element::U8)}, {"[1, 8, 8, 4]"});
}

TEST(LayerShapes, WrongNumberOfInputs) {
  expect_refused(PointwiseConv("pw", "w", 8, 8), {}, {"1 inputs", "0"});
  expect_refused(ResidualAdd("add"), {spec(1, 1, 1, 1)}, {"2 inputs", "1"});
  const auto fused = PointwiseConv("pw", "w", 8, 8).with_residual();
  expect_refused(*fused, {spec(1, 1, 1, 8)}, {"2 inputs", "1"});
  expect_refused(*fused, {spec(1, 1, 1, 8), spec(1, 1, 2, 8)}, {"[1, 1, 2, 8]", "[1, 1, 1, 8]"});
}

// One of every layer that takes one input.
std::vector<LayerPtr> single_input_layers() {
  return {std::make_shared<StemConv>("stem", "w", 8, Padding::Torch),
          std::make_shared<DepthwiseConv>("dw", "w", 3, 1, Padding::Torch),
          std::make_shared<PointwiseConv>("pw", "w", 3, 8),
          std::make_shared<BatchNorm>("bn", 3, BatchNormOptions{}),
          std::make_shared<ActivationLayer>("act", Activation::Relu),
          std::make_shared<Dropout>("drop", 0.5),
          std::make_shared<GlobalAveragePool>("pool"),
          std::make_shared<Dense>("fc", 3, 2, Activation::None)};
}

TEST(LayerShapes, EmptyInputsAreRefused) {
  for (const LayerPtr& layer : single_input_layers())
    for (const Spec& s : {spec(0, 1, 1, 3), spec(1, 0, 1, 3), spec(1, 1, 0, 3), spec(-1, 1, 1, 3)})
      expect_refused(*layer, {s}, {to_string(s.shape)});
}

// A kernel for floats would read four times the bytes there are.
TEST(LayerShapes, Uint8IsForImageNormalizeAlone) {
  for (const LayerPtr& layer : single_input_layers())
    expect_refused(*layer, {spec(2, 1, 1, 3, Element::U8)}, {"uint8"});
  EXPECT_THROW(with_element(Element::U8, [](auto) {}), Error);
}

TEST(LayerShapes, BatchNormRefusesToTrainOnOneValue) {
  const BatchNorm layer("features.18.1", 8, {});
  const std::vector<Spec> one = {spec(1, 1, 1, 8)};
  const std::string text = shape_error([&] {
    (void)layer.plan({Phase::Train, true, one, one[0]});
  });
  EXPECT_NE(text.find("features.18.1"), std::string::npos) << text;
  EXPECT_NO_THROW((void)layer.plan({Phase::Infer, false, one, one[0]}));
  EXPECT_NO_THROW((void)layer.with_frozen_statistics()->plan({Phase::Train, true, one, one[0]}));
}

TEST(LayerConstruction, RefusesNonsense) {
  EXPECT_THROW(Dropout("d", 1.0), UsageError);
  EXPECT_THROW(Dropout("d", -0.1), UsageError);
  EXPECT_THROW(Dropout("d", std::nan("")), UsageError);
  EXPECT_THROW(ImageNormalize("n", {}, {1, 0, 1}, Element::F32), UsageError);
  EXPECT_THROW(ActivationLayer("a", Activation::None), UsageError);
}

// What may be fused behind a convolution, in the order the epilogue applies it: batch norm,
// activation, residual.
TEST(Convolution, KindsAndTheOrderOfFusion) {
  const FoldedNorm norm = *BatchNorm("bn", 8, {}).norm();
  const PointwiseConv plain("pw", "w", 8, 8);
  EXPECT_EQ(plain.kind(), "pointwise");
  EXPECT_EQ(DepthwiseConv("dw", "w", 8, 1, Padding::Torch).kind(), "depthwise");
  EXPECT_EQ(StemConv("stem", "w", 8, Padding::Torch).kind(), "stem");
  const LayerPtr bn = plain.with_norm(norm);
  EXPECT_EQ(bn->kind(), "pointwise+bn");
  EXPECT_EQ(bn->params().size(), 5u);
  EXPECT_EQ(bn->with_norm(norm), nullptr);
  const LayerPtr act = bn->with_activation(Activation::Relu6);
  EXPECT_EQ(act->kind(), "pointwise+bn+relu6");
  EXPECT_EQ(act->with_norm(norm), nullptr);
  EXPECT_EQ(act->with_activation(Activation::Relu), nullptr);
  const LayerPtr add = act->with_residual();
  EXPECT_EQ(add->kind(), "pointwise+bn+relu6+add");
  EXPECT_EQ(add->with_residual(), nullptr);
  const LayerPtr sum = bn->with_residual();
  EXPECT_EQ(sum->kind(), "pointwise+bn+add");
  EXPECT_EQ(sum->with_activation(Activation::Relu6), nullptr) << "it would act before the add";
  EXPECT_EQ(sum->with_norm(norm), nullptr);
  EXPECT_EQ(sum->name(), "pw");
}

TEST(BatchNormKinds, ActivationAndFrozenStatistics) {
  const BatchNorm layer("bn", 8, {});
  EXPECT_EQ(layer.kind(), "batch_norm");
  const LayerPtr frozen = layer.with_frozen_statistics();
  EXPECT_EQ(frozen->kind(), "frozen_batch_norm");
  const LayerPtr act = frozen->with_activation(Activation::Relu6);
  EXPECT_EQ(act->kind(), "frozen_batch_norm+relu6");
  EXPECT_EQ(act->norm(), nullptr) << "folding it would lose the activation";
  EXPECT_EQ(act->with_activation(Activation::Relu), nullptr);
}

}  // namespace
}  // namespace dfengine
