// The graph: building, names, shape inference and what it says when shapes do not fit.
#include "layers/graph.h"

#include <gtest/gtest.h>

#include <cmath>

#include "kernels/base/error.h"

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

void expect_refused(const Operation& operation, const std::vector<Spec>& in,
                    const std::vector<std::string>& words) {
  const std::string text = shape_error([&] { (void)infer(operation, "a.layer", in); });
  EXPECT_NE(text.find("layer a.layer:"), std::string::npos) << text;
  for (const std::string& word : words)
    EXPECT_NE(text.find(word), std::string::npos) << text << ", without " << word;
}

const Convolution kStem{.in = 3, .out = 8, .window = {.size = 3, .stride = 2}};
Convolution depthwise(Index c, Index stride = 1, Padding padding = Padding::Torch) {
  return {
      .in = c, .out = c, .groups = c, .window = {.size = 3, .stride = stride, .padding = padding}};
}

TEST(Graph, InfersTheShapesOfASmallNetwork) {
  Graph graph;
  const ValueId images = graph.add_input("images");
  ValueId x = graph.add("normalize", ImageNormalize{}, {images});
  const ValueId stem = graph.add("stem", kStem, {x});
  const ValueId narrow = graph.add("dw", depthwise(8, 2, Padding::TfSame), {stem});
  x = graph.add("pw", Convolution{.in = 8, .out = 5}, {narrow});
  const ValueId pooled = graph.add("pool", GlobalAveragePool{}, {x});
  graph.mark_output(pooled, "features");
  const auto specs = graph.infer(std::vector{spec(2, 9, 6, 3, Element::U8)});
  EXPECT_EQ(specs[at(stem)], spec(2, 5, 3, 8));
  EXPECT_EQ(specs[at(narrow)], spec(2, 3, 2, 8));
  EXPECT_EQ(specs[at(x)], spec(2, 3, 2, 5));
  EXPECT_EQ(specs[at(graph.output("features"))], spec(2, 1, 1, 5));
  EXPECT_EQ(graph.input("images"), images);
  EXPECT_EQ(graph.reader_counts(), (std::vector<int>{1, 1, 1, 1, 1, 1}));
  EXPECT_EQ(graph.producer(images), nullptr);
  EXPECT_EQ(graph.producer(narrow)->name, "dw");
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
  EXPECT_THROW(graph.add("add", Add{}, {x, 1}), UsageError);
  EXPECT_THROW(graph.add("add", Add{}, {-1, x}), UsageError);
  EXPECT_THROW(graph.add("add", Add{}, {x, x, x}), UsageError);
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
  graph.add("fc", Dense{.in = 3, .out = 3}, {x});
  graph.add("fc", Dense{.in = 3, .out = 3}, {x});
  ASSERT_EQ(graph.params().size(), 2u);
  EXPECT_EQ(graph.params()[1].name, "fc.bias");
}

// ---- Shapes -------------------------------------------------------------------------------------

// Outputs of a window, and what stands before the first input, counted place by place: under Torch
// a window that begins in the padding and ends in it, under TfSame one for every stride begun.
WindowAxis counted(Index in, const Window& window) {
  if (window.padding == Padding::Torch) {
    const Index border = (window.size - 1) / 2;
    WindowAxis axis{.out = 0, .before = border};
    for (Index first = -border; first + window.size <= in + border; first += window.stride)
      ++axis.out;
    return axis;
  }
  WindowAxis axis;
  for (Index begun = 0; begun < in; begun += window.stride) ++axis.out;
  // The least zeros that the last window needs, half of them before, the odd one behind.
  Index zeros = 0;
  while ((axis.out - 1) * window.stride + window.size > in + zeros) ++zeros;
  axis.before = zeros / 2;
  return axis;
}

TEST(WindowAxis, EqualsAPlainCount) {
  for (Padding padding : {Padding::Torch, Padding::TfSame})
    for (Index size : {1, 3, 5})
      for (Index stride : {1, 2, 3})
        for (Index in = 1; in < 20; ++in) {
          const Window window{.size = size, .stride = stride, .padding = padding};
          const WindowAxis axis = window_axis(in, window), want = counted(in, window);
          SCOPED_TRACE(testing::Message() << in << " under " << size << " stride " << stride
                                          << (padding == Padding::Torch ? " torch" : " tf_same"));
          EXPECT_EQ(axis.out, want.out);
          EXPECT_EQ(axis.before, want.before);
        }
}

// What TensorFlow and PyTorch say of a few.
TEST(WindowAxis, KnownCases) {
  const auto axis = [](Index in, Index size, Index stride, Padding padding) {
    const WindowAxis a = window_axis(in, {.size = size, .stride = stride, .padding = padding});
    return std::pair{a.out, a.before};
  };
  EXPECT_EQ(axis(224, 3, 2, Padding::Torch), (std::pair<Index, Index>{112, 1}));
  EXPECT_EQ(axis(224, 3, 2, Padding::TfSame), (std::pair<Index, Index>{112, 0}));
  EXPECT_EQ(axis(7, 3, 2, Padding::TfSame), (std::pair<Index, Index>{4, 1}));
  EXPECT_EQ(axis(224, 5, 2, Padding::Torch), (std::pair<Index, Index>{112, 2}));
  EXPECT_EQ(axis(224, 5, 2, Padding::TfSame), (std::pair<Index, Index>{112, 1}));
  EXPECT_EQ(axis(7, 1, 2, Padding::TfSame), (std::pair<Index, Index>{4, 0}));
}

TEST(LayerShapes, ErrorsNameTheLayerAndTheShapes) {
  const Dense dense{.in = 8, .out = 2};
  expect_refused(kStem, {spec(1, 8, 8, 4)}, {"[1, 8, 8, 4]"});
  expect_refused(depthwise(8), {spec(1, 8, 8, 7)}, {"8", "[1, 8, 8, 7]"});
  expect_refused(Convolution{.in = 8, .out = 16}, {spec(1, 8, 8, 7)}, {"8", "[1, 8, 8, 7]"});
  expect_refused(BatchNorm{.channels = 8}, {spec(1, 8, 8, 7)}, {"8", "[1, 8, 8, 7]"});
  expect_refused(dense, {spec(1, 2, 1, 8)}, {"[1, 2, 1, 8]"});
  expect_refused(dense, {spec(1, 1, 1, 9)}, {"[1, 1, 1, 9]"});
  expect_refused(Add{}, {spec(1, 2, 2, 8), spec(1, 2, 2, 9)}, {"[1, 2, 2, 8]", "[1, 2, 2, 9]"});
  expect_refused(BceLoss{}, {spec(2, 1, 1, 2), spec(2, 1, 1, 2)}, {"[2, 1, 1, 2]"});
  expect_refused(BceLoss{}, {spec(2, 1, 1, 1), spec(3, 1, 1, 1)}, {"[3, 1, 1, 1]"});
  expect_refused(ImageNormalize{}, {spec(1, 8, 8, 3)}, {"uint8", "[1, 8, 8, 3]"});
  expect_refused(ImageNormalize{}, {spec(1, 8, 8, 4, Element::U8)}, {"[1, 8, 8, 4]"});
}

TEST(LayerShapes, WrongNumberOfInputs) {
  const Convolution plain{.in = 8, .out = 8};
  Convolution fused = plain;
  fused.norm = {.name = "bn"};
  fused.residual = true;
  expect_refused(plain, {}, {"1 inputs", "0"});
  expect_refused(Add{}, {spec(1, 1, 1, 1)}, {"2 inputs", "1"});
  expect_refused(fused, {spec(1, 1, 1, 8)}, {"2 inputs", "1"});
  expect_refused(fused, {spec(1, 1, 1, 8), spec(1, 1, 2, 8)}, {"[1, 1, 2, 8]", "[1, 1, 1, 8]"});
}

// A batch norm that leaves its result to its readers writes scale and shift, in float.
TEST(LayerShapes, NormOnLoadReadsScaleAndShift) {
  const Spec x = spec(2, 4, 4, 8, Element::F16), vectors = spec(1, 1, 3, 8);
  const BatchNorm norm{.channels = 8, .output = NormOutput::OnLoad};
  EXPECT_EQ(infer(norm, "bn", std::vector{x}), vectors);
  EXPECT_EQ(gradient_spec(norm, std::vector{x}, vectors), x);
  Convolution conv{.in = 8, .out = 16, .norm_on_load = Activation::Relu6};
  EXPECT_EQ(infer(conv, "pw", std::vector{x, vectors}), spec(2, 4, 4, 16, Element::F16));
  expect_refused(conv, {x}, {"2 inputs", "1"});
  expect_refused(conv, {x, spec(1, 1, 3, 9)}, {"[1, 1, 3, 9]"});
  expect_refused(conv, {x, spec(1, 1, 3, 8, Element::F16)}, {"[1, 1, 3, 8]"});
  EXPECT_FALSE(passes_gradient(conv, 0));
  EXPECT_TRUE(passes_gradient(conv, 1));
  conv.norm_on_load.reset();
  EXPECT_TRUE(passes_gradient(conv, 0));
}

// One of every operation that takes one input.
std::vector<Operation> single_input_operations() {
  return {kStem,
          depthwise(3),
          Convolution{.in = 3, .out = 8},
          BatchNorm{.channels = 3},
          Activate{Activation::Relu},
          Dropout{0.5},
          GlobalAveragePool{},
          Dense{.in = 3, .out = 2}};
}

TEST(LayerShapes, EmptyInputsAreRefused) {
  for (const Operation& operation : single_input_operations())
    for (const Spec& s : {spec(0, 1, 1, 3), spec(1, 0, 1, 3), spec(1, 1, 0, 3), spec(-1, 1, 1, 3)})
      expect_refused(operation, {s}, {to_string(s.shape)});
}

// A kernel for floats would read four times the bytes there are. The pool takes quantized numbers.
TEST(LayerShapes, Uint8IsForPixelsAndQuantizedNumbersAlone) {
  for (const Operation& operation : single_input_operations())
    if (!std::holds_alternative<GlobalAveragePool>(operation))
      expect_refused(operation, {spec(2, 1, 1, 3, Element::U8)}, {"uint8"});
  expect_refused(QuantizedConvolution{.conv = {.in = 3, .out = 8}}, {spec(2, 1, 1, 3)},
                 {"quantized"});
  EXPECT_THROW(with_parameter_type(Element::U8, [](auto) {}), Error);
}

TEST(LayerConstruction, RefusesNonsense) {
  const std::vector<Spec> floats = {spec(1, 2, 2, 3)};
  for (double rate : {1.0, -0.1, std::nan("")})
    EXPECT_THROW((void)infer(Dropout{rate}, "d", floats), UsageError);
  EXPECT_THROW((void)infer(Activate{Activation::None}, "a", floats), UsageError);
  const std::vector<Spec> pixels = {spec(1, 2, 2, 3, Element::U8)};
  EXPECT_THROW((void)infer(ImageNormalize{.std_dev = {1, 0, 1}}, "n", pixels), UsageError);
  EXPECT_NO_THROW((void)infer(ImageNormalize{}, "n", pixels));
}

// ---- Kinds --------------------------------------------------------------------------------------

TEST(Convolution, KindsSayWhatIsFused) {
  Convolution conv{.in = 8, .out = 8};
  EXPECT_EQ(kind(conv), "pointwise");
  EXPECT_EQ(kind(depthwise(8)), "depthwise");
  EXPECT_EQ(kind(kStem), "stem");
  EXPECT_EQ(params(conv, "pw").size(), 1u);
  EXPECT_FALSE(conv.inference_form());
  conv.norm = {.name = "bn"};
  EXPECT_EQ(kind(conv), "pointwise+bn");
  EXPECT_EQ(params(conv, "pw").size(), 5u);
  EXPECT_TRUE(conv.inference_form());
  conv.activation = Activation::Relu6;
  EXPECT_EQ(kind(conv), "pointwise+bn+relu6");
  conv.residual = true;
  EXPECT_EQ(kind(conv), "pointwise+bn+relu6+add");
  EXPECT_EQ(kind(Convolution{.in = 8, .out = 8, .norm_on_load = Activation::Relu}),
            "pointwise norm-on-load");
  EXPECT_EQ(kind(Convolution{.in = 8, .out = 8, .makes_moments = true}), "pointwise moments");
}

TEST(BatchNormKinds, ActivationAndFrozenStatistics) {
  BatchNorm norm{.channels = 8};
  EXPECT_EQ(kind(norm), "batch_norm");
  norm.frozen_statistics = true;
  EXPECT_EQ(kind(norm), "frozen_batch_norm");
  norm.activation = Activation::Relu6;
  EXPECT_EQ(kind(norm), "frozen_batch_norm+relu6");
  norm.output = NormOutput::OnLoad;
  EXPECT_EQ(kind(norm), "frozen_batch_norm+relu6 deferred");
  EXPECT_EQ(kind(BatchNorm{.channels = 8, .moments_given = true}), "batch_norm given");
}

}  // namespace
}  // namespace dfengine
