// Depthwise convolution on the device against the double kernels on the CPU, which
// depthwise_conv_test.cpp compares with the formula.
#include "kernels/depthwise_conv.h"
#include "kernels/error.h"
#include "tests/kernels/conv_data.h"
#include "tests/support/device.h"

namespace dfengine::test {
namespace {

using Doubles = Values<double>;

Doubles absolutes(const Doubles& values) {
  Doubles result;
  for (double v : values) result.push_back(std::abs(v));
  return result;
}

// What one problem is run with; values are those that T holds.
template <class T>
struct Data {
  DepthwiseProblem p;
  Doubles x, w, dy, bias, residual;

  static Data random(const DepthwiseProblem& p) {
    const auto make = [](Index count, std::uint64_t seed) {
      return as_stored<T>(random_values<double>(count, seed));
    };
    return filled(p, make);
  }
  static Data integers(const DepthwiseProblem& p) {
    return filled(
        p, [](Index count, std::uint64_t seed) { return small_integers<double>(count, seed); });
  }
  Data magnitudes() const {
    return {p, absolutes(x), absolutes(w), absolutes(dy), absolutes(bias), absolutes(residual)};
  }

 private:
  template <class Make>
  static Data filled(const DepthwiseProblem& p, Make&& make) {
    return {p,
            make(p.input().count(), 1),
            make(9 * p.c, 2),
            make(p.output().count(), 3),
            as_stored<float>(make(p.c, 4)),
            make(p.output().count(), 5)};
  }
};

enum class Use { Plain, Full };

template <class T>
Doubles forward_on_cpu(const Data<T>& d, Activation activation, Use use) {
  cpu::ThreadPool pool(1);
  Epilogue<double> epilogue;
  if (use == Use::Full) epilogue = {d.bias.data(), activation, d.residual.data()};
  Doubles y(d.dy.size());
  cpu::depthwise_forward<double>({pool}, d.p, d.x.data(), d.w.data(), epilogue, y.data());
  return y;
}

// With Use::Full the residual is y itself.
template <class T>
Doubles forward_on_device(const Data<T>& d, Activation activation, Use use) {
  DeviceArray<T> x(d.x), w(d.w), plain(d.p.output().count()), in_place(d.residual);
  DeviceArray<float> bias(d.bias);
  Epilogue<T, float> epilogue;
  if (use == Use::Full) epilogue = {bias.data(), activation, in_place.data()};
  DeviceArray<T>& y = use == Use::Full ? in_place : plain;
  cuda::depthwise_forward<T>(nullptr, d.p, x.data(), w.data(), epilogue, y.data());
  return y.values();
}

template <class T>
Doubles data_gradient_on_cpu(const Data<T>& d, Write write) {
  cpu::ThreadPool pool(1);
  Doubles dx = d.x;
  cpu::depthwise_backward_data<double>({pool}, d.p, d.dy.data(), d.w.data(), write, dx.data());
  return dx;
}

template <class T>
Doubles data_gradient_on_device(const Data<T>& d, Write write) {
  DeviceArray<T> dy(d.dy), w(d.w), sum(d.x), plain(d.p.input().count());
  DeviceArray<T>& dx = write == Write::Accumulate ? sum : plain;
  cuda::depthwise_backward_data<T>(nullptr, d.p, dy.data(), w.data(), write, dx.data());
  return dx.values();
}

template <class T>
Doubles weight_gradient_on_cpu(const Data<T>& d) {
  cpu::ThreadPool pool(1);
  Doubles scratch(size_of(cpu::depthwise_weight_scratch(d.p))), dw(d.w.size());
  cpu::depthwise_backward_weight<double>({pool}, d.p, d.x.data(), d.dy.data(), scratch.data(),
                                         Write::Overwrite, dw.data());
  return dw;
}

template <class T>
Doubles weight_gradient_on_device(const Data<T>& d) {
  DeviceArray<T> x(d.x), dy(d.dy);
  DeviceArray<float> scratch(cuda::depthwise_weight_scratch(d.p)), dw(9 * d.p.c);
  cuda::depthwise_backward_weight<T>(nullptr, d.p, x.data(), dy.data(), scratch.data(), dw.data());
  scratch.values();
  return dw.values();
}

std::string describe(const DepthwiseProblem& p) {
  return "x [" + std::to_string(p.n) + ", " + std::to_string(p.h) + ", " + std::to_string(p.w) +
         ", " + std::to_string(p.c) + "] stride " + std::to_string(p.stride) +
         (p.padding == Padding::Torch ? " torch" : " tf_same");
}

template <class Body>
void for_each_window(const std::vector<Shape>& shapes, Body&& body) {
  for (const Shape& shape : shapes)
    for (Index stride : {1, 2})
      for (Padding padding : {Padding::Torch, Padding::TfSame}) {
        const DepthwiseProblem p = DepthwiseProblem::make(shape, stride, padding);
        SCOPED_TRACE(describe(p));
        body(p);
      }
}

template <class Body>
void for_each_type(Body&& body) {
  body(Half{});
  body(BFloat16{});
  body(float{});
}

// Sides of 1 to 19, strips of one row and of many, a second block, channel tiles that do not
// divide evenly (264 / 8 = 33 = 17 + 16).
const std::vector<Shape> kShapes{{1, 1, 1, 8},    {1, 2, 3, 8},  {3, 5, 2, 24}, {1, 7, 8, 40},
                                 {1, 19, 13, 16}, {3, 8, 7, 16}, {1, 3, 2, 264}};

// Integers whose sums T holds exactly: any wrong index shows.
TEST(DepthwiseConvDevice, ExactOnSmallIntegers) {
  DF_NEEDS_DEVICE();
  for_each_thread_order([] {
    for_each_window(kShapes, [](const DepthwiseProblem& p) {
      const auto d = Data<Half>::integers(p);
      ASSERT_EQ(forward_on_device(d, Activation::None, Use::Plain),
                forward_on_cpu(d, Activation::None, Use::Plain));
      for (Write write : {Write::Overwrite, Write::Accumulate})
        ASSERT_EQ(data_gradient_on_device(d, write), data_gradient_on_cpu(d, write));
      ASSERT_EQ(weight_gradient_on_device(d), weight_gradient_on_cpu(d));
    });
  });
}

TEST(DepthwiseConvDevice, EveryTypeEqualsDouble) {
  DF_NEEDS_DEVICE();
  for_each_window({{2, 9, 6, 24}, {1, 17, 4, 8}}, [](const DepthwiseProblem& p) {
    for_each_type([&]<class T>(T) {
      const auto d = Data<T>::random(p), m = d.magnitudes();
      expect_device_close<T>(forward_on_device(d, Activation::None, Use::Plain),
                             forward_on_cpu(d, Activation::None, Use::Plain), 9,
                             forward_on_cpu(m, Activation::None, Use::Plain), "y");
      for (Write write : {Write::Overwrite, Write::Accumulate})
        expect_device_close<T>(data_gradient_on_device(d, write), data_gradient_on_cpu(d, write),
                               10, data_gradient_on_cpu(m, write), "dx");
      expect_device_close<float>(weight_gradient_on_device(d), weight_gradient_on_cpu(d),
                                 static_cast<double>(p.output().rows()), weight_gradient_on_cpu(m),
                                 "dw");
    });
  });
}

TEST(DepthwiseConvDevice, EpilogueAppliesBiasActivationThenResidual) {
  DF_NEEDS_DEVICE();
  for_each_window({{2, 5, 7, 16}}, [](const DepthwiseProblem& p) {
    for (Activation activation : {Activation::None, Activation::Relu, Activation::Relu6}) {
      const auto exact = Data<Half>::integers(p);
      ASSERT_EQ(forward_on_device(exact, activation, Use::Full),
                forward_on_cpu(exact, activation, Use::Full));
      for_each_type([&]<class T>(T) {
        const auto d = Data<T>::random(p);
        expect_device_close<T>(forward_on_device(d, activation, Use::Full),
                               forward_on_cpu(d, activation, Use::Full), 11,
                               forward_on_cpu(d.magnitudes(), Activation::None, Use::Full), "y");
      });
    }
  });
}

// Two runs give the same bits, and so do both orders of threads.
TEST(DepthwiseConvDevice, WeightGradientKeepsItsBits) {
  DF_NEEDS_DEVICE();
  const auto d =
      Data<BFloat16>::random(DepthwiseProblem::make({2, 16, 15, 24}, 1, Padding::TfSame));
  const Doubles once = weight_gradient_on_device(d);
  for_each_thread_order([&] { EXPECT_EQ(weight_gradient_on_device(d), once); });
}

// Enough threads for strips of full length on a large GPU.
TEST(DepthwiseConvDevice, FullGridIsExact) {
  DF_NEEDS_DEVICE();
  if (cuda::is_emulated()) GTEST_SKIP() << "too slow in the stand-in for a GPU";
  for_each_window({{8, 29, 27, 960}}, [](const DepthwiseProblem& p) {
    const auto d = Data<Half>::integers(p);
    ASSERT_EQ(forward_on_device(d, Activation::None, Use::Plain),
              forward_on_cpu(d, Activation::None, Use::Plain));
    ASSERT_EQ(data_gradient_on_device(d, Write::Overwrite),
              data_gradient_on_cpu(d, Write::Overwrite));
    ASSERT_EQ(weight_gradient_on_device(d), weight_gradient_on_cpu(d));
  });
}

TEST(DepthwiseConvDevice, RejectsChannelsAndPointersItCannotLoad) {
  DF_NEEDS_DEVICE();
  DeviceArray<Half> a(1024), b(1024);
  DeviceArray<float> sums(1024);
  const auto forward = [&](Index channels, Index offset) {
    const auto p = DepthwiseProblem::make({1, 2, 2, channels}, 1, Padding::Torch);
    cuda::depthwise_forward<Half>(nullptr, p, a.data() + offset, a.data(), {}, b.data());
  };
  EXPECT_THROW(forward(12, 0), ShapeError);
  EXPECT_THROW(forward(8, 1), ShapeError);
  const auto p = DepthwiseProblem::make({1, 2, 2, 8}, 2, Padding::Torch);
  EXPECT_THROW(cuda::depthwise_backward_data<Half>(nullptr, p, a.data(), a.data() + 4,
                                                   Write::Overwrite, b.data()),
               ShapeError);
  EXPECT_THROW(cuda::depthwise_backward_weight<Half>(nullptr, p, a.data() + 4, a.data(),
                                                     sums.data(), sums.data()),
               ShapeError);
}

}  // namespace
}  // namespace dfengine::test
