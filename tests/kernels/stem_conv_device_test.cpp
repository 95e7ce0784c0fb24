// Stem convolution on the device against the double kernels on the CPU, which stem_conv_test.cpp
// compares with the formula.
#include "kernels/error.h"
#include "kernels/stem_conv.h"
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
  StemProblem p;
  Doubles x, w, dy, bias, residual;

  static Data random(const StemProblem& p) {
    return filled(p, [](Index count, std::uint64_t seed) {
      return as_stored<T>(random_values<double>(count, seed));
    });
  }
  static Data integers(const StemProblem& p) {
    return filled(
        p, [](Index count, std::uint64_t seed) { return small_integers<double>(count, seed); });
  }
  Data magnitudes() const {
    return {p, absolutes(x), absolutes(w), absolutes(dy), absolutes(bias), absolutes(residual)};
  }

 private:
  template <class Make>
  static Data filled(const StemProblem& p, Make&& make) {
    return {p,
            make(p.n * p.h * p.w * 3, 1),
            make(27 * p.k, 2),
            make(p.output().count(), 3),
            make(p.k, 4),
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
  cpu::stem_forward<double>({pool}, d.p, d.x.data(), d.w.data(), epilogue, y.data());
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
  cuda::stem_forward<T>(nullptr, d.p, x.data(), w.data(), epilogue, y.data());
  return y.values();
}

template <class T>
Doubles weight_gradient_on_cpu(const Data<T>& d) {
  cpu::ThreadPool pool(1);
  Doubles scratch(size_of(cpu::stem_weight_scratch(d.p))), dw(d.w.size());
  cpu::stem_backward_weight<double>({pool}, d.p, d.x.data(), d.dy.data(), scratch.data(),
                                    Write::Overwrite, dw.data());
  return dw;
}

template <class T>
Doubles weight_gradient_on_device(const Data<T>& d) {
  DeviceArray<T> x(d.x), dy(d.dy);
  DeviceArray<float> scratch(cuda::stem_weight_scratch(d.p)), dw(27 * d.p.k);
  cuda::stem_backward_weight<T>(nullptr, d.p, x.data(), dy.data(), scratch.data(), dw.data());
  scratch.values();
  return dw.values();
}

struct Case {
  Index n, h, w, k;
};

template <class Body>
void for_each_window(const std::vector<Case>& cases, Body&& body) {
  for (const Case& c : cases)
    for (Padding padding : {Padding::Torch, Padding::TfSame}) {
      SCOPED_TRACE("x [" + std::to_string(c.n) + ", " + std::to_string(c.h) + ", " +
                   std::to_string(c.w) + ", 3] k " + std::to_string(c.k) +
                   (padding == Padding::Torch ? " torch" : " tf_same"));
      body(StemProblem::make({c.n, c.h, c.w, 3}, c.k, padding));
    }
}

template <class Body>
void for_each_type(Body&& body) {
  body(Half{});
  body(BFloat16{});
  body(float{});
}

// Less than a tile, several tiles with odd edges, and more channels than one block takes.
const std::vector<Case> kCases{{1, 1, 1, 8},    {1, 2, 3, 16}, {3, 7, 5, 24},
                               {1, 33, 67, 32}, {1, 40, 8, 8}, {1, 6, 5, 72}};

// Integers whose sums T holds exactly: any wrong index shows.
TEST(StemConvDevice, ExactOnSmallIntegers) {
  DF_NEEDS_DEVICE();
  for_each_thread_order([] {
    for_each_window(kCases, [](const StemProblem& p) {
      const auto d = Data<Half>::integers(p);
      ASSERT_EQ(forward_on_device(d, Activation::None, Use::Plain),
                forward_on_cpu(d, Activation::None, Use::Plain));
      ASSERT_EQ(weight_gradient_on_device(d), weight_gradient_on_cpu(d));
    });
  });
}

TEST(StemConvDevice, EveryTypeEqualsDouble) {
  DF_NEEDS_DEVICE();
  for_each_window({{2, 9, 36, 32}, {1, 13, 11, 40}}, [](const StemProblem& p) {
    for_each_type([&]<class T>(T) {
      const auto d = Data<T>::random(p), m = d.magnitudes();
      expect_device_close<T>(forward_on_device(d, Activation::None, Use::Plain),
                             forward_on_cpu(d, Activation::None, Use::Plain), 27,
                             forward_on_cpu(m, Activation::None, Use::Plain), "y");
      expect_device_close<float>(weight_gradient_on_device(d), weight_gradient_on_cpu(d),
                                 static_cast<double>(p.output().rows()), weight_gradient_on_cpu(m),
                                 "dw");
    });
  });
}

TEST(StemConvDevice, EpilogueAppliesBiasActivationThenResidual) {
  DF_NEEDS_DEVICE();
  for_each_window({{2, 9, 11, 40}}, [](const StemProblem& p) {
    for (Activation activation : {Activation::None, Activation::Relu, Activation::Relu6}) {
      const auto exact = Data<Half>::integers(p);
      ASSERT_EQ(forward_on_device(exact, activation, Use::Full),
                forward_on_cpu(exact, activation, Use::Full));
      const auto d = Data<float>::random(p);
      expect_device_close<float>(forward_on_device(d, activation, Use::Full),
                                 forward_on_cpu(d, activation, Use::Full), 29,
                                 forward_on_cpu(d.magnitudes(), Activation::None, Use::Full), "y");
    }
  });
}

// Images need no alignment: a crop may begin at any pixel.
TEST(StemConvDevice, InputMayBeginAnywhere) {
  DF_NEEDS_DEVICE();
  const auto d = Data<Half>::integers(StemProblem::make({1, 5, 7, 3}, 8, Padding::Torch));
  Doubles shifted = d.x;
  shifted.insert(shifted.begin(), std::numeric_limits<double>::quiet_NaN());
  DeviceArray<Half> x(shifted), w(d.w), y(d.p.output().count());
  cuda::stem_forward<Half>(nullptr, d.p, x.data() + 1, w.data(), {}, y.data());
  EXPECT_EQ(y.values(), forward_on_cpu(d, Activation::None, Use::Plain));
}

// Two runs give the same bits, and so do both orders of threads.
TEST(StemConvDevice, WeightGradientKeepsItsBits) {
  DF_NEEDS_DEVICE();
  const auto d = Data<BFloat16>::random(StemProblem::make({2, 34, 33, 3}, 16, Padding::TfSame));
  const Doubles once = weight_gradient_on_device(d);
  for_each_thread_order([&] { EXPECT_EQ(weight_gradient_on_device(d), once); });
}

// More tiles than blocks of the weight gradient: a block sums several.
TEST(StemConvDevice, BlocksSumSeveralTiles) {
  DF_NEEDS_DEVICE();
  const auto d = Data<Half>::integers(StemProblem::make({300, 2, 3, 3}, 8, Padding::Torch));
  EXPECT_EQ(weight_gradient_on_device(d), weight_gradient_on_cpu(d));
}

TEST(StemConvDevice, RejectsChannelsAndPointersItCannotLoad) {
  DF_NEEDS_DEVICE();
  DeviceArray<Half> a(2048), b(2048);
  const auto forward = [&](Index k, Index offset) {
    const auto p = StemProblem::make({1, 4, 4, 3}, k, Padding::Torch);
    cuda::stem_forward<Half>(nullptr, p, a.data(), a.data() + offset, {}, b.data());
  };
  EXPECT_THROW(forward(12, 0), ShapeError);
  EXPECT_THROW(forward(8, 1), ShapeError);
  DeviceArray<float> sums(1024);
  const auto p = StemProblem::make({1, 4, 4, 3}, 8, Padding::Torch);
  EXPECT_THROW(cuda::stem_backward_weight<Half>(nullptr, p, a.data(), a.data() + 4, sums.data(),
                                                sums.data()),
               ShapeError);
}

}  // namespace
}  // namespace dfengine::test
