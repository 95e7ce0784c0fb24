// The HDF5 reader and the .keras archive around it, on files of h5py; damaged files.
#include "weights/hdf5_file.h"

#include <gtest/gtest.h>

#include "kernels/error.h"
#include "tests/weights/scratch_folder.h"
#include "weights/keras_zip.h"
#include "weights/read_file.h"

namespace dfengine::weights {
namespace {

using test::message_of;

const std::filesystem::path kGoldens = std::filesystem::path(DFENGINE_SOURCE_DIR) / "tests/golden";

bool has_hdf5() {
  const auto message = message_of<ModelFileError>([] { parse_hdf5({}, "empty"); });
  return message.find("DFENGINE_HDF5") == std::string::npos;
}

class Hdf5File : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!has_hdf5()) GTEST_SKIP() << "built without libhdf5";
  }
};

// (0 ... 5) - 3) / 4, the values of make_keras_goldens.py: exact in every type.
std::vector<float> sample_values(std::size_t rows) {
  std::vector<float> values;
  for (std::size_t i = 0; i < rows * 3; ++i)
    values.push_back((static_cast<float>(i % 6) - 3.0f) / 4.0f);
  return values;
}

void expect_sample(const TensorFile& file) {
  struct Row {
    const char* name;
    DType dtype;
    std::vector<std::int64_t> shape;
  };
  const std::vector<Row> rows = {
      {"first/first/kernel:0", DType::F32, {2, 3}}, {"second/big_endian", DType::F32, {2, 3}},
      {"second/double", DType::F64, {2, 3}},        {"second/empty", DType::F32, {0, 3}},
      {"second/half", DType::F16, {2, 3}},          {"second/half_big_endian", DType::F16, {2, 3}},
      {"second/packed", DType::F32, {16, 3}},       {"second/scalar", DType::F32, {}}};
  ASSERT_EQ(file.tensors.size(), rows.size());  // without the integer
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const Tensor& tensor = file.tensors[i];
    EXPECT_EQ(tensor.name, rows[i].name);
    EXPECT_EQ(tensor.dtype, rows[i].dtype) << tensor.name;
    EXPECT_EQ(tensor.shape, rows[i].shape) << tensor.name;
    const auto expected = tensor.shape.empty()
                              ? std::vector<float>{2.5f}
                              : sample_values(static_cast<std::size_t>(tensor.shape[0]));
    EXPECT_EQ(to_float(tensor), expected) << tensor.name;
  }
}

TEST_F(Hdf5File, ReadsEveryKindOfFloats) {
  expect_sample(read_tensor_file(kGoldens / "weights_sample.h5"));
}

TEST_F(Hdf5File, AttributesBecomeMetadata) {
  auto metadata = read_tensor_file(kGoldens / "weights_sample.h5").metadata;
  EXPECT_EQ(metadata["@layer_names"], "second\nfirst");
  EXPECT_EQ(metadata["@backend"], "tensorflow");
  EXPECT_EQ(metadata["first@weight_names"], "first/kernel:0");
  EXPECT_TRUE(metadata.contains("@keras_version"));  // variable length: not read
  EXPECT_EQ(metadata["@keras_version"], "");
  EXPECT_NE(metadata["@model_config"].find("[null, 96, 96, 3]"), std::string::npos);
}

TEST_F(Hdf5File, KerasArchive) {
  const auto path = kGoldens / "weights_sample.keras";
  if (!is_keras_zip(read_file(path))) GTEST_SKIP() << "built without libzip";
  TensorFile file = read_tensor_file(path);
  expect_sample(file);
  EXPECT_EQ(file.metadata["@keras_version"], "3.15.1");
  EXPECT_EQ(file.metadata["@layer_names"], "second\nfirst");
}

TEST_F(Hdf5File, RefusesWhatLeadsAway) {
  const std::vector<std::pair<const char*, const char*>> cases = {
      {"soft_link", "soft or external link"},
      {"external_link", "soft or external link"},
      {"loop", "another place"},
      {"twice", "another place"},
      {"virtual", "global heap"},
      {"external_data", "in another file"},
      {"filter", "filter 3"},
      {"huge", "cannot hold [1048576, 1048576]"},
      {"huge_packed", "cannot hold [1048576, 1024]"}};
  for (const auto& [name, cause] : cases) {
    const auto path = kGoldens / (std::string("weights_bad_") + name + ".h5");
    const auto message = message_of<ModelFileError>([&] { read_tensor_file(path); });
    EXPECT_NE(message.find(cause), std::string::npos) << name << ": " << message;
    EXPECT_NE(message.find(path.string()), std::string::npos) << message;
  }
}

// Whatever bytes the file ends at or has changed: an Error or a TensorFile, and nothing printed.
TEST_F(Hdf5File, CutAndDamaged) {
  const auto whole = read_file(kGoldens / "weights_sample.h5");
  ::testing::internal::CaptureStderr();
  for (std::size_t size = 0; size < whole.size(); size += 211) {
    EXPECT_THROW(parse_hdf5(std::span(whole).first(size), "cut"), ModelFileError) << size;
  }
  std::size_t refused = 0;
  for (std::size_t at = 0; at < whole.size(); at += 31) {
    auto damaged = whole;
    damaged[at] ^= std::byte{0xFF};
    try {
      parse_hdf5(damaged, "damaged");
    } catch (const Error&) {
      ++refused;
    }
  }
  EXPECT_GT(refused, 0u);
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
}

TEST_F(Hdf5File, CutArchive) {
  const auto whole = read_file(kGoldens / "weights_sample.keras");
  if (!is_keras_zip(whole)) GTEST_SKIP() << "built without libzip";
  for (std::size_t at = 0; at < whole.size(); at += 211) {
    auto damaged = whole;
    damaged[at] ^= std::byte{0xFF};
    try {
      expect_sample(parse_keras_zip(damaged, "damaged"));  // outside what is read
    } catch (const ModelFileError&) {
    }
    EXPECT_FALSE(is_keras_zip(std::span(whole).first(at)));
  }
}

}  // namespace
}  // namespace dfengine::weights
