// The three convolutions for the test matrix: each one's formula, the cases that every target sees,
// and the calling conventions of its kernels, which nothing else in the matrix knows.
#pragma once

#include <string>
#include <vector>

#include "kernels/depthwise_conv.h"
#include "kernels/pointwise_conv.h"
#include "kernels/stem_conv.h"
#include "tests/kernels/conv_case.h"

namespace dfengine::test {

inline const Index kSides[] = {1, 2, 3, 5, 7, 8, 14};
inline const Padding kPaddings[] = {Padding::Torch, Padding::TfSame};

inline std::string name_of(Padding padding) {
  return padding == Padding::Torch ? " torch" : " tf_same";
}

// Calls body(r, s, input row, input column) for the taps of one window that lie in the image.
template <class Body>
void for_each_tap(Index top, Index left, Index h, Index w, Body&& body) {
  for (Index r = 0; r < 3; ++r)
    for (Index s = 0; s < 3; ++s) {
      const Index i = top + r, j = left + s;
      if (i >= 0 && i < h && j >= 0 && j < w) body(r, s, i, j);
    }
}

// Weights as the CPU's kernels take them, in the type of sums.
template <class T>
std::vector<SumOf<T>> parameters(const T* w, Index count) {
  std::vector<SumOf<T>> values;
  for (Index i = 0; i < count; ++i) values.push_back(static_cast<SumOf<T>>(value_of(w[i])));
  return values;
}

struct Depthwise {
  static constexpr const char* kName = "Depthwise";
  static constexpr bool kHasDataGradient = true;
  DepthwiseProblem p;

  // Sides of 1 to 19, strips of one row and of many, a second block, channel tiles that do not
  // divide evenly (264 / 8 = 33 = 17 + 16), channels for one vector and for none.
  static std::vector<Depthwise> cases() {
    return windows({{1, 1, 1, 8},
                    {1, 2, 3, 8},
                    {3, 5, 2, 24},
                    {1, 7, 8, 40},
                    {1, 19, 13, 16},
                    {3, 8, 7, 16},
                    {1, 3, 2, 264},
                    {2, 9, 6, 24},
                    {1, 17, 4, 8},
                    {2, 9, 19, 33},
                    {2, 5, 7, 16},
                    {2, 16, 15, 24}});
  }
  static std::vector<Depthwise> sweep() {
    std::vector<Shape> shapes;
    for (Index h : kSides)
      for (Index w : kSides)
        for (Index c : {1, 3, 8, 16, 24, 33, 96})
          for (Index n : {1, 3}) shapes.push_back({n, h, w, c});
    return windows(shapes);
  }
  // Several tasks for each thread.
  static std::vector<Depthwise> large() { return windows({{3, 28, 28, 40}}); }

  std::string name() const {
    return "x [" + std::to_string(p.n) + ", " + std::to_string(p.h) + ", " + std::to_string(p.w) +
           ", " + std::to_string(p.c) + "] stride " + std::to_string(p.stride) + name_of(p.padding);
  }
  ConvSizes sizes() const { return {p.input().count(), 9 * p.c, p.output().count(), p.c, 9, 9}; }
  template <class Body>
  void for_each_product(Body&& body) const {
    for (Index y = 0; y < p.output().rows(); ++y) {
      const Index q = y % p.q, row = y / p.q % p.p, n = y / p.q / p.p;
      for_each_tap(row * p.stride - p.before_h, q * p.stride - p.before_w, p.h, p.w,
                   [&](Index r, Index s, Index i, Index j) {
                     for (Index c = 0; c < p.c; ++c)
                       body(y * p.c + c, ((n * p.h + i) * p.w + j) * p.c + c,
                            (r * 3 + s) * p.c + c);
                   });
    }
  }

  template <class T>
  bool takes(Cpu<T>) const {
    return !std::is_same_v<T, BFloat16> || p.c % 8 == 0;
  }
  template <class T>
  Index scratch(const Cpu<T>&) const {
    return cpu::depthwise_weight_scratch(p);
  }
  template <class T>
  void forward(const Cpu<T>& on, const T* x, const T* w, const Epilogue<T>& e, T* y) const {
    cpu::depthwise_forward<T>(on.context(), p, x, parameters(w, 9 * p.c).data(), e, y);
  }
  template <class T>
  void backward_data(const Cpu<T>& on, const T* dy, const T* w, Write write, T* dx) const {
    cpu::depthwise_backward_data<T>(on.context(), p, dy, parameters(w, 9 * p.c).data(), write, dx);
  }
  template <class T>
  void backward_weight(const Cpu<T>& on, const T* x, const T* dy, SumOf<T>* scratch,
                       SumOf<T>* dw) const {
    cpu::depthwise_backward_weight<T>(on.context(), p, x, dy, scratch, dw);
  }

  template <class T>
  bool takes(Device<T>) const {
    return p.c % 8 == 0;
  }
  template <class T>
  Index scratch(Device<T>) const {
    return cuda::depthwise_weight_scratch(p);
  }
  template <class T>
  void forward(Device<T>, const T* x, const T* w, const Epilogue<T, float>& e, T* y) const {
    cuda::depthwise_forward<T>(nullptr, p, x, w, e, y);
  }
  template <class T>
  void backward_data(Device<T>, const T* dy, const T* w, Write write, T* dx) const {
    cuda::depthwise_backward_data<T>(nullptr, p, dy, w, write, dx);
  }
  template <class T>
  void backward_weight(Device<T>, const T* x, const T* dy, float* scratch, float* dw) const {
    cuda::depthwise_backward_weight<T>(nullptr, p, x, dy, scratch, dw);
  }

 private:
  static std::vector<Depthwise> windows(const std::vector<Shape>& shapes) {
    std::vector<Depthwise> cases;
    for (const Shape& shape : shapes)
      for (Index stride : {1, 2})
        for (Padding padding : kPaddings)
          cases.push_back({DepthwiseProblem::make(shape, stride, padding)});
    return cases;
  }
};

struct Stem {
  static constexpr const char* kName = "Stem";
  static constexpr bool kHasDataGradient = false;
  StemProblem p;

  // Less than a tile, several tiles with odd edges, more channels than one block takes, channels
  // that are no whole vectors.
  static std::vector<Stem> cases() {
    return windows({{{1, 1, 1, 3}, 8},
                    {{1, 2, 3, 3}, 16},
                    {{3, 7, 5, 3}, 24},
                    {{1, 33, 67, 3}, 32},
                    {{1, 40, 8, 3}, 8},
                    {{1, 6, 5, 3}, 72},
                    {{2, 9, 36, 3}, 32},
                    {{1, 13, 11, 3}, 40},
                    {{2, 9, 11, 3}, 40},
                    {{2, 9, 37, 3}, 47},
                    {{2, 34, 33, 3}, 16}});
  }
  static std::vector<Stem> sweep() {
    std::vector<Case> all;
    for (Index h : kSides)
      for (Index w : kSides)
        for (Index k : {1, 5, 8, 16, 24, 33, 47, 72})
          for (Index n : {1, 3}) all.push_back({{n, h, w, 3}, k});
    return windows(all);
  }
  static std::vector<Stem> large() { return windows({{{3, 56, 56, 3}, 32}}); }

  std::string name() const {
    return "x [" + std::to_string(p.n) + ", " + std::to_string(p.h) + ", " + std::to_string(p.w) +
           ", 3] k " + std::to_string(p.k) + " stride " + std::to_string(p.stride) +
           name_of(p.padding);
  }
  ConvSizes sizes() const {
    return {p.n * p.h * p.w * 3, 27 * p.k, p.output().count(), p.k, 27, 0};
  }
  template <class Body>
  void for_each_product(Body&& body) const {
    for (Index y = 0; y < p.output().rows(); ++y) {
      const Index q = y % p.q, row = y / p.q % p.p, n = y / p.q / p.p;
      for_each_tap(row * p.stride - p.before_h, q * p.stride - p.before_w, p.h, p.w,
                   [&](Index r, Index s, Index i, Index j) {
                     for (Index c = 0; c < 3; ++c)
                       for (Index k = 0; k < p.k; ++k)
                         body(y * p.k + k, ((n * p.h + i) * p.w + j) * 3 + c,
                              ((r * 3 + s) * 3 + c) * p.k + k);
                   });
    }
  }

  template <class T>
  bool takes(Cpu<T>) const {
    return !std::is_same_v<T, BFloat16> || p.k % 8 == 0;
  }
  template <class T>
  Index scratch(const Cpu<T>&) const {
    return cpu::stem_weight_scratch(p);
  }
  template <class T>
  void forward(const Cpu<T>& on, const T* x, const T* w, const Epilogue<T>& e, T* y) const {
    cpu::stem_forward<T>(on.context(), p, x, parameters(w, 27 * p.k).data(), e, y);
  }
  template <class T>
  void backward_weight(const Cpu<T>& on, const T* x, const T* dy, SumOf<T>* scratch,
                       SumOf<T>* dw) const {
    cpu::stem_backward_weight<T>(on.context(), p, x, dy, scratch, dw);
  }

  template <class T>
  bool takes(Device<T>) const {
    return p.k % 8 == 0;
  }
  template <class T>
  Index scratch(Device<T>) const {
    return cuda::stem_weight_scratch(p);
  }
  template <class T>
  void forward(Device<T>, const T* x, const T* w, const Epilogue<T, float>& e, T* y) const {
    cuda::stem_forward<T>(nullptr, p, x, w, e, y);
  }
  template <class T>
  void backward_weight(Device<T>, const T* x, const T* dy, float* scratch, float* dw) const {
    cuda::stem_backward_weight<T>(nullptr, p, x, dy, scratch, dw);
  }

 private:
  struct Case {
    Shape x;
    Index k;
  };
  static std::vector<Stem> windows(const std::vector<Case>& shapes) {
    std::vector<Stem> cases;
    for (const Case& c : shapes)
      for (Padding padding : kPaddings)
        for (Index stride : {1, 2}) cases.push_back({StemProblem::make(c.x, c.k, padding, stride)});
    return cases;
  }
};

struct Pointwise {
  static constexpr const char* kName = "Pointwise";
  static constexpr bool kHasDataGradient = true;
  PointwiseProblem p;

  static Pointwise of(Index m, Index c, Index k) { return {PointwiseProblem::make(m, c, k)}; }

  static std::vector<Pointwise> cases() {
    return {of(1, 8, 8),   of(49, 24, 40),  of(75, 72, 16),  of(19, 16, 24),
            of(131, 7, 5), of(3, 140, 130), of(49, 33, 100), of(13, 24, 17),
            of(65, 96, 1), of(13, 24, 33),  of(50, 33, 64),  of(3, 130, 1),
            of(1, 77, 10), of(70, 33, 67),  of(70, 100, 67), of(13, 10, 21)};
  }
  static std::vector<Pointwise> sweep() {
    std::vector<Pointwise> all;
    for (Index m : {1, 2, 7, 11, 12, 13, 49, 65})
      for (Index c : {1, 3, 8, 16, 24, 33, 96})
        for (Index k : {1, 8, 16, 17, 24, 33, 48, 100}) all.push_back(of(m, c, k));
    return all;
  }
  // Several blocks, slices and rectangles of dw.
  static std::vector<Pointwise> large() {
    return {of(2103, 40, 33), of(1101, 200, 24), of(150, 100, 400), of(70, 1283, 10)};
  }

  std::string name() const {
    return "m " + std::to_string(p.m) + " c " + std::to_string(p.c) + " k " + std::to_string(p.k);
  }
  ConvSizes sizes() const { return {p.m * p.c, p.k * p.c, p.m * p.k, p.k, p.c, p.k}; }
  template <class Body>
  void for_each_product(Body&& body) const {
    for (Index m = 0; m < p.m; ++m)
      for (Index k = 0; k < p.k; ++k)
        for (Index c = 0; c < p.c; ++c) body(m * p.k + k, m * p.c + c, k * p.c + c);
  }

  template <class T>
  bool takes(Cpu<T>) const {
    return !std::is_same_v<T, BFloat16> || (p.c % 8 == 0 && p.k % 8 == 0);
  }
  template <class T>
  Index scratch(const Cpu<T>&) const {
    return cpu::pointwise_weight_scratch(p);
  }
  template <class T>
  void forward(const Cpu<T>& on, const T* x, const T* w, const Epilogue<T>& e, T* y) const {
    HostArray<T> packed(cpu::pointwise_packed_count(p));
    cpu::pointwise_pack<T>(p, parameters(w, p.k * p.c).data(), packed.data());
    packed.values();
    cpu::pointwise_forward<T>(on.context(), p, x, packed.data(), e, y);
  }
  template <class T>
  void backward_data(const Cpu<T>& on, const T* dy, const T* w, Write write, T* dx) const {
    HostArray<T> packed(cpu::pointwise_packed_count(p));
    cpu::pointwise_pack_transposed<T>(p, parameters(w, p.k * p.c).data(), packed.data());
    packed.values();
    cpu::pointwise_backward_data<T>(on.context(), p, dy, packed.data(), write, dx);
  }
  template <class T>
  void backward_weight(const Cpu<T>& on, const T* x, const T* dy, SumOf<T>* scratch,
                       SumOf<T>* dw) const {
    cpu::pointwise_backward_weight<T>(on.context(), p, x, dy, scratch, dw);
  }

  template <class T>
  bool takes(Device<T>) const {
    return std::is_same_v<T, float> || (p.c % 8 == 0 && p.k % 8 == 0);
  }
  template <class T>
  Index scratch(Device<T>) const {
    return cuda::pointwise_weight_scratch(p);
  }
  template <class T>
  void forward(Device<T>, const T* x, const T* w, const Epilogue<T, float>& e, T* y) const {
    cuda::pointwise_forward<T>(nullptr, p, x, w, e, y);
  }
  template <class T>
  void backward_data(Device<T>, const T* dy, const T* w, Write write, T* dx) const {
    cuda::pointwise_backward_data<T>(nullptr, p, dy, w, write, dx);
  }
  template <class T>
  void backward_weight(Device<T>, const T* x, const T* dy, float* scratch, float* dw) const {
    cuda::pointwise_backward_weight<T>(nullptr, p, x, dy, scratch, dw);
  }
};

}  // namespace dfengine::test
