// The engine's own data set: layout, repeatable bytes, nothing to learn from colour statistics,
// and a spectral trace that survives JPEG.
#include "engine/synth/synth.h"

#include <gtest/gtest.h>

#include <Eigen/Dense>
#include <cmath>
#include <fstream>
#include <iterator>
#include <map>
#include <numbers>
#include <span>
#include <string>
#include <vector>

#include "engine/data/pictures/image.h"
#include "engine/evaluate/metrics/classification.h"
#include "engine/synth/upsample.h"
#include "kernels/base/error.h"
#include "tests/support/tolerance.h"

namespace dfengine {
namespace {

namespace fs = std::filesystem;

// A folder of this test's own, gone with it.
class Scratch {
 public:
  Scratch()
      : path_(fs::temp_directory_path() /
              (std::string("dfengine_synth_") +
               testing::UnitTest::GetInstance()->current_test_info()->name())) {
    fs::remove_all(path_);
    fs::create_directories(path_);
  }
  ~Scratch() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

// Relative path -> bytes of every file under `root`.
std::map<std::string, std::string> files_under(const fs::path& root) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    if (!entry.is_regular_file()) continue;
    std::ifstream in(entry.path(), std::ios::binary);
    files[fs::relative(entry.path(), root).generic_string()] =
        std::string(std::istreambuf_iterator<char>(in), {});
  }
  return files;
}

std::map<std::string, std::string> write_set(const fs::path& root, std::uint64_t seed,
                                             Index count) {
  write_synth_set({.output = root, .count = count, .seed = seed, .size = 32});
  return files_under(root);
}

SynthClass kind_of(std::size_t number) {
  return number % 2 != 0 ? SynthClass::Fake : SynthClass::Real;
}

Image decoded(std::uint64_t seed, std::size_t number, Index size) {
  const auto bytes = draw_synth_jpeg(seed, number, size, kind_of(number));
  return decode_image(std::as_bytes(std::span(bytes)), "synth");
}

TEST(Synth, LayoutAndCounts) {
  const Scratch scratch;
  std::vector<Index> calls;
  write_synth_set({.output = scratch.path(), .count = 40, .seed = 3, .size = 32},
                  [&](Index done, Index count) {
                    calls.push_back(done);
                    EXPECT_EQ(count, 40);
                  });
  ASSERT_EQ(calls.size(), 40u);
  EXPECT_EQ(calls.back(), 40);
  std::map<std::string, int> per_folder;
  for (const auto& [path, bytes] : files_under(scratch.path())) {
    per_folder[fs::path(path).parent_path().generic_string()]++;
    const Image image = decode_image(std::as_bytes(std::span(bytes)), path);
    EXPECT_EQ(image.h, 32);
    EXPECT_EQ(image.w, 32);
  }
  const std::map<std::string, int> expected = {{"train/real", 16}, {"train/fake", 16},
                                               {"valid/real", 2},  {"valid/fake", 2},
                                               {"test/real", 2},   {"test/fake", 2}};
  EXPECT_EQ(per_folder, expected);
  EXPECT_TRUE(fs::exists(scratch.path() / "train" / "real" / "00000.jpg"));
  EXPECT_TRUE(fs::exists(scratch.path() / "test" / "fake" / "00039.jpg"));
}

TEST(Synth, SameSeedSameBytesOtherSeedOtherBytes) {
  const Scratch scratch;
  const auto first = write_set(scratch.path() / "a", 11, 20);
  EXPECT_EQ(first, write_set(scratch.path() / "b", 11, 20));
  const auto other = write_set(scratch.path() / "c", 12, 20);
  ASSERT_EQ(other.size(), first.size());
  for (const auto& [path, bytes] : first) EXPECT_NE(bytes, other.at(path)) << path;
  // A larger set begins with the same pictures.
  const auto larger = write_set(scratch.path() / "d", 11, 40);
  for (const auto& [path, bytes] : first) EXPECT_EQ(bytes, larger.at(path)) << path;
}

// Bytes on another machine or compiler: FNV-1a over eight files. Changes only when the pictures are
// meant to change.
TEST(Synth, BytesAreTheSameEverywhere) {
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (std::size_t number = 0; number < 8; ++number) {
    for (const std::uint8_t byte : draw_synth_jpeg(7, number, 96, kind_of(number))) {
      hash = (hash ^ byte) * 0x100000001b3u;
    }
  }
  EXPECT_EQ(hash, 1318932439031973642u);
}

TEST(Synth, RefusesWhatItCannotDo) {
  const Scratch scratch;
  const auto write = [&](const fs::path& output, Index count, Index size) {
    write_synth_set({.output = output, .count = count, .seed = 0, .size = size});
  };
  EXPECT_THROW(write(scratch.path(), 19, 32), UsageError);
  EXPECT_THROW(write(scratch.path(), 1'000'001, 32), UsageError);
  EXPECT_THROW(write(scratch.path(), 20, 28), UsageError);
  EXPECT_THROW(write(scratch.path(), 20, 34), UsageError);
  EXPECT_THROW(write(scratch.path(), 20, 1028), UsageError);
  EXPECT_TRUE(fs::is_empty(scratch.path()));
  fs::create_directories(scratch.path() / "old" / "valid");
  EXPECT_THROW(write(scratch.path() / "old", 20, 32), UsageError);
  std::ofstream(scratch.path() / "file") << "not a folder";
  try {
    write(scratch.path() / "file", 20, 32);
    FAIL() << "wrote below a plain file";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("file"), std::string::npos) << error.what();
    // Nothing is wrong with any data.
    EXPECT_EQ(dynamic_cast<const DataError*>(&error), nullptr);
  }
}

// What an error cut short is gone again, so that the same call can be made anew; what others put
// there stays.
TEST(Synth, ASetThatFailsLeavesNothing) {
  const Scratch scratch;
  const SynthOptions options = {
      .output = scratch.path() / "set", .count = 20, .seed = 0, .size = 32};
  const fs::path other = options.output / "test/fake/other.jpg";
  const auto fail_at = [&](Index number) {
    write_synth_set(options, [&](Index done, Index) {
      if (done != number) return;
      std::ofstream(other) << "of another program";
      throw Error("the disk is full");
    });
  };
  EXPECT_THROW(fail_at(7), Error);
  EXPECT_EQ(files_under(options.output).size(), 1u);
  EXPECT_TRUE(fs::exists(other));
  fs::remove_all(options.output / "test");
  EXPECT_TRUE(fs::is_empty(options.output));
  write_synth_set(options);
  EXPECT_EQ(files_under(options.output).size(), 20u);
}

TEST(Synth, DecoderKeepsMeanAndVariance) {
  constexpr Index kSize = 16;
  Random random(5, RandomStream::Synth, 0);
  Canvas photo(kSize);
  for (float& value : photo.rgb) value = draw(random, 0.2, 0.8);
  Canvas fake = pass_through_decoder(photo, random);
  EXPECT_NE(fake.rgb, photo.rgb);
  match_mean_variance(fake, photo);
  constexpr double kPixels = kSize * kSize;
  for (std::size_t channel = 0; channel < 3; ++channel) {
    double mean_error = 0, square_error = 0;
    for (std::size_t i = channel; i < photo.rgb.size(); i += 3) {
      mean_error += (fake.rgb[i] - photo.rgb[i]) / kPixels;
      square_error +=
          (double{fake.rgb[i]} * fake.rgb[i] - double{photo.rgb[i]} * photo.rgb[i]) / kPixels;
    }
    // Each pixel is rounded to float once; a square doubles its relative error.
    EXPECT_LE(std::abs(mean_error), (test::tolerance<float, double>(kPixels, 1.0)));
    EXPECT_LE(std::abs(square_error), (test::tolerance<float, double>(kPixels, 2.0)));
  }
}

// What a detector could go by, of a few hundred pictures after their trip through JPEG.
class SynthStatistics : public testing::Test {
 protected:
  static constexpr Index kPictures = 600, kHalf = kPictures / 2, kSize = 96, kMoments = 6;

  static void SetUpTestSuite() {
    moments_ = Eigen::MatrixXd(kPictures, kMoments);
    peak_.clear();
    label_.clear();
    for (Index i = 0; i < kPictures; ++i) {
      const Image image = decoded(21, static_cast<std::size_t>(i), kSize);
      const Eigen::MatrixXd pixels =
          Eigen::Map<const Eigen::Matrix<std::uint8_t, 3, Eigen::Dynamic>>(image.rgb.data(), 3,
                                                                           kSize * kSize)
              .cast<double>();
      const Eigen::VectorXd mean = pixels.rowwise().mean();
      const Eigen::VectorXd variance = (pixels.colwise() - mean).rowwise().squaredNorm();
      moments_.row(i) << mean.transpose(), variance.transpose() / (kSize * kSize);
      peak_.push_back(nyquist_peak(pixels.colwise().sum()));
      label_.push_back(static_cast<int>(i % 2));
    }
  }

  // log of the power at the Nyquist frequency over the power just below it, of the picture's
  // column and row sums: the peaks of Frank et al. (2020) on the two axes of the spectrum.
  static double nyquist_peak(const Eigen::VectorXd& grey) {
    const Eigen::Map<const Eigen::MatrixXd> picture(grey.data(), kSize, kSize);
    const std::vector<Eigen::VectorXd> profiles = {picture.rowwise().sum(),
                                                   picture.colwise().sum().transpose()};
    const auto power = [](const Eigen::VectorXd& profile, Index frequency) {
      double re = 0, im = 0;
      for (Index t = 0; t < kSize; ++t) {
        const double angle = 2.0 * std::numbers::pi * static_cast<double>(frequency * t) / kSize;
        re += profile[t] * std::cos(angle);
        im += profile[t] * std::sin(angle);
      }
      return re * re + im * im;
    };
    double at_nyquist = 0, below = 0;
    for (const Eigen::VectorXd& profile : profiles) {
      at_nyquist += power(profile, kSize / 2);
      for (Index k = kSize / 2 - 6; k < kSize / 2 - 1; ++k) below += power(profile, k) / 5;
    }
    return std::log(at_nyquist / below);
  }

  // AUC on the second half of a logistic regression fitted to the first half by Newton's method.
  static double regression_auc(const Eigen::MatrixXd& features) {
    Eigen::MatrixXd x(kPictures, features.cols() + 1);
    const Eigen::RowVectorXd mean = features.topRows(kHalf).colwise().mean();
    const Eigen::RowVectorXd deviation =
        ((features.topRows(kHalf).rowwise() - mean).colwise().squaredNorm() / kHalf).cwiseSqrt();
    x << ((features.rowwise() - mean).array().rowwise() / deviation.array()).matrix(),
        Eigen::VectorXd::Ones(kPictures);
    Eigen::VectorXd y(kHalf);
    for (Index i = 0; i < kHalf; ++i) y[i] = label_[static_cast<std::size_t>(i)];
    const auto train = x.topRows(kHalf);
    const Eigen::MatrixXd ridge = 1e-3 * Eigen::MatrixXd::Identity(x.cols(), x.cols());
    Eigen::VectorXd weights = Eigen::VectorXd::Zero(x.cols());
    for (int step = 0; step < 20; ++step) {
      const Eigen::ArrayXd p = 1.0 / (1.0 + (-(train * weights).array()).exp());
      const Eigen::MatrixXd hessian =
          train.transpose() * (p * (1.0 - p)).matrix().asDiagonal() * train + ridge;
      const Eigen::VectorXd gradient = train.transpose() * (p.matrix() - y) + ridge * weights;
      weights -= hessian.ldlt().solve(gradient);
    }
    const Eigen::VectorXd score = x.bottomRows(kHalf) * weights;
    return roc_auc({score.data(), kHalf}, std::span(label_).subspan(kHalf));
  }

  static inline Eigen::MatrixXd moments_;
  static inline std::vector<double> peak_;
  static inline std::vector<int> label_;
};

// The bound is the one the data set promises: colour and brightness do not tell the classes apart.
TEST_F(SynthStatistics, MeanAndVarianceDoNotTell) {
  const double auc = regression_auc(moments_);
  RecordProperty("auc", std::to_string(auc));
  EXPECT_LT(auc, 0.60);

  // The regression is able to find a difference: fakes brighter by one standard deviation.
  Eigen::MatrixXd shifted = moments_;
  const Eigen::VectorXd centred = shifted.col(0).array() - shifted.col(0).mean();
  const double deviation = std::sqrt(centred.squaredNorm() / kPictures);
  for (Index i = 1; i < kPictures; i += 2) shifted(i, 0) += deviation;
  EXPECT_GT(regression_auc(shifted), 0.60);
}

// The up-sampling trace survives JPEG: the Nyquist peak alone ranks fakes above reals.
TEST_F(SynthStatistics, NyquistPeakTells) {
  const double auc = roc_auc(peak_, label_);
  RecordProperty("auc", std::to_string(auc));
  EXPECT_GT(auc, 0.80);
}

}  // namespace
}  // namespace dfengine
