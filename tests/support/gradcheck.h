// Central differences in double against a layer's own gradients, with memory booked exactly as the
// layer's plan() asks: guarded at both ends and full of NaN, so that a value never written or a
// write outside shows up.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "layers/layer.h"
#include "tests/support/random_data.h"
#include "tests/support/tolerance.h"

namespace dfengine::test {

using Doubles = std::vector<double>;

// Step of the differences.
inline constexpr double kStep = 1e-5;
// How far values stay from an activation's kinks: no step in one variable comes near them.
inline constexpr double kKinkDistance = 10 * kStep;

// A block of doubles between two strips of NaN.
class GuardedDoubles {
 public:
  explicit GuardedDoubles(Index bytes)
      : count_(static_cast<std::size_t>(bytes) / sizeof(double)),
        values_(count_ + 2 * kStrip, std::numeric_limits<double>::quiet_NaN()) {}
  double* data() { return count_ == 0 ? nullptr : values_.data() + kStrip; }
  void expect_intact(const std::string& what) const {
    for (std::size_t i = 0; i < kStrip; ++i) {
      EXPECT_TRUE(std::isnan(values_[i])) << what << " written before its start";
      EXPECT_TRUE(std::isnan(values_[kStrip + count_ + i])) << what << " written behind its end";
    }
  }
  Doubles values() const { return {values_.begin() + kStrip, values_.end() - kStrip}; }
  void fill(const Doubles& from) { std::ranges::copy(from, values_.begin() + kStrip); }

 private:
  static constexpr std::size_t kStrip = 16;
  std::size_t count_;
  Doubles values_;
};

// The gradients of one backward call; empty where it was told to skip one.
struct LayerGradients {
  std::vector<Doubles> dx, dparams;
};

// What a backward call is told. skip_dx and skip_dparams list positions given as null.
struct BackwardCall {
  std::vector<std::size_t> skip_dx = {}, skip_dparams = {};
  bool dx_is_dy = false;             // dx[0] in dy's memory
  std::vector<Doubles> add_to = {};  // dx before an accumulating call; empty: overwrite
};

// One layer with its inputs and parameters, run the way an executor would.
class LayerRun {
 public:
  LayerRun(const Layer& layer, std::vector<Spec> in, Phase phase, std::uint64_t seed)
      : layer_(layer), in_(std::move(in)), out_(layer.infer(in_)), phase_(phase) {
    for (const Spec& s : in_) x.push_back(random_uniform<double>(s.shape.count(), ++seed, -2, 2));
    for (const ParamSpec& p : layer.params())
      params.push_back(initial(p, random_uniform<double>(p.count(), ++seed)));
    dy = random_uniform<double>(out_.shape.count(), ++seed);
  }

  std::vector<Doubles> x, params;
  Doubles dy;
  StepState step{11, 3};

  const Spec& out() const { return out_; }
  LayerPlan plan(bool backward) const { return layer_.plan({phase_, backward, in_, out_}); }

  // Forward as before a backward (backward) or alone. in_place: y over the input that plan() names.
  Doubles forward(bool backward, bool in_place = false) const {
    return Pass(*this, backward).forward(in_place);
  }

  LayerGradients backward(const BackwardCall& call = {}) const {
    Pass pass(*this, true);
    pass.forward(false);
    return pass.backward(call);
  }

 private:
  // Parameters near what a trained network has.
  static Doubles initial(const ParamSpec& p, Doubles uniform) {
    for (double& v : uniform) {
      if (p.role == Role::NormScale) v = 2.0 + v;
      if (p.role == Role::NormShift) v = 2.0 + v;
      if (p.role == Role::RunningVar) v = 1.5 + v;
    }
    return uniform;
  }

  // Memory of one forward and one backward call.
  class Pass {
   public:
    Pass(const LayerRun& run, bool backward)
        : run_(run),
          booked_(run.plan(backward)),
          x_(run.x),
          params_(run.params),
          prepared_(booked_.prepared),
          saved_(booked_.saved),
          y_(run.out_.bytes()) {
      for (Doubles& p : params_) param_pointers_.push_back(p.data());
      io_.phase = run.phase_;
      io_.in = run.in_;
      io_.out = run.out_;
      io_.params = param_pointers_;
      io_.saved = saved_.data();
      if (booked_.prepared > 0)
        run.layer_.prepare(run.out_.element, param_pointers_, prepared_.data());
      io_.prepared = prepared_.data();
    }

    Doubles forward(bool in_place) {
      GuardedDoubles scratch(booked_.forward_scratch);
      LayerIo io = io_;
      io.scratch = scratch.data();
      for (std::size_t k = 0; k < x_.size(); ++k) io.x[k] = x_[k].data();
      double* y =
          in_place ? x_[static_cast<std::size_t>(booked_.overwrites_input)].data() : y_.data();
      io.y = y;
      run_.layer_.forward({{pool()}, &run_.step}, io);
      scratch.expect_intact("forward scratch");
      saved_.expect_intact("saved");
      prepared_.expect_intact("prepared");
      y_.expect_intact("y");
      return {y, y + run_.out_.shape.count()};
    }

    LayerGradients backward(const BackwardCall& call) {
      GuardedDoubles scratch(booked_.backward_scratch), dy(run_.out_.bytes());
      dy.fill(run_.dy);
      LayerIo io = io_;
      io.scratch = scratch.data();
      io.dy = dy.data();
      // What was not asked for is absent, as it may be overwritten by then.
      if (booked_.backward_needs_input)
        for (std::size_t k = 0; k < x_.size(); ++k) io.x[k] = x_[k].data();
      if (booked_.backward_needs_output) io.y = y_.data();
      std::vector<GuardedDoubles> dx, dparams;
      for (const Spec& s : run_.in_) dx.emplace_back(s.bytes());
      for (const Doubles& p : params_)
        dparams.emplace_back(static_cast<Index>(p.size() * sizeof(double)));
      std::vector<void*> dparam_pointers;
      for (GuardedDoubles& d : dparams) dparam_pointers.push_back(d.data());
      for (std::size_t k : call.skip_dparams) dparam_pointers[k] = nullptr;
      for (std::size_t k = 0; k < dx.size(); ++k) {
        io.dx[k] = dx[k].data();
        if (call.add_to.empty()) continue;
        dx[k].fill(call.add_to[k]);
        io.dx_write[k] = Write::Accumulate;
      }
      if (call.dx_is_dy) io.dx[0] = dy.data();
      for (std::size_t k : call.skip_dx) io.dx[k] = nullptr;
      io.dparams = dparam_pointers;
      run_.layer_.backward({{pool()}, &run_.step}, io);
      scratch.expect_intact("backward scratch");
      dy.expect_intact("dy");
      return collect(call, dx, dparams, dy);
    }

   private:
    static LayerGradients collect(const BackwardCall& call, const std::vector<GuardedDoubles>& dx,
                                  const std::vector<GuardedDoubles>& dparams,
                                  const GuardedDoubles& dy) {
      LayerGradients result;
      for (const GuardedDoubles& d : dx) d.expect_intact("dx");
      for (const GuardedDoubles& d : dparams) d.expect_intact("dparams");
      for (const GuardedDoubles& d : dx) result.dx.push_back(d.values());
      for (const GuardedDoubles& d : dparams) result.dparams.push_back(d.values());
      if (call.dx_is_dy) result.dx[0] = dy.values();
      for (std::size_t k : call.skip_dx) result.dx[k].clear();
      for (std::size_t k : call.skip_dparams) result.dparams[k].clear();
      return result;
    }

    static cpu::ThreadPool& pool() {
      static cpu::ThreadPool threads(2);
      return threads;
    }

    const LayerRun& run_;
    const LayerPlan booked_;
    std::vector<Doubles> x_, params_;
    GuardedDoubles prepared_, saved_, y_;
    std::vector<void*> param_pointers_;
    LayerIo io_;
  };

  const Layer& layer_;
  std::vector<Spec> in_;
  Spec out_;
  Phase phase_;
};

inline double dot(const Doubles& a, const Doubles& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

inline double magnitude(const Doubles& a, const Doubles& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += std::abs(a[i] * b[i]);
  return sum;
}

// Compares `gradient` with central differences of `value` around `at`: every element of a small
// vector, else 8 elements and 4 random directions. `scale` is the size of the terms that `value`
// adds up.
inline void expect_gradient(Doubles& at, const Doubles& gradient,
                            const std::function<double()>& value, double scale,
                            const std::string& what) {
  constexpr std::size_t kSmall = 256, kElements = 8, kDirections = 4;
  ASSERT_EQ(at.size(), gradient.size()) << what;
  const double bound = gradcheck_tolerance(kStep) * std::max(1.0, scale);
  const auto along = [&](const Doubles& direction, const std::string& place) {
    const Doubles start = at;
    const auto moved = [&](double distance) {
      for (std::size_t i = 0; i < at.size(); ++i) at[i] = start[i] + distance * direction[i];
      return value();
    };
    const double numeric = (moved(kStep) - moved(-kStep)) / (2 * kStep);
    at = start;
    EXPECT_NEAR(dot(gradient, direction), numeric, bound) << what << place;
  };
  const std::size_t stride = at.size() <= kSmall ? 1 : at.size() / kElements;
  for (std::size_t i = 0; i < at.size(); i += stride) {
    Doubles unit(at.size(), 0.0);
    unit[i] = 1;
    along(unit, " element " + std::to_string(i));
  }
  if (at.size() <= kSmall) return;
  for (std::size_t d = 0; d < kDirections; ++d) {
    Doubles direction = random_uniform<double>(static_cast<std::int64_t>(at.size()), 90 + d);
    const double length = std::sqrt(dot(direction, direction));
    for (double& v : direction) v /= length;
    along(direction, " direction " + std::to_string(d));
  }
}

// The smallest distance of any value from a kink of the activation.
inline double kink_distance(const Doubles& values, Activation activation) {
  double distance = std::numeric_limits<double>::infinity();
  if (activation == Activation::None) return distance;
  for (double v : values) {
    distance = std::min(distance, std::abs(v));
    if (activation == Activation::Relu6) distance = std::min(distance, std::abs(v - 6));
  }
  return distance;
}

}  // namespace dfengine::test
