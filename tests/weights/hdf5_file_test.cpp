// The HDF5 reader and the .keras archive around it, on files of h5py; damaged files.
#include "weights/hdf5/hdf5_file.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include <cstring>

#include "kernels/base/error.h"
#include "tests/support/places.h"
#include "tests/weights/scratch_folder.h"
#include "weights/hdf5/hdf5_data.h"
#include "weights/keras/keras_zip.h"
#include "weights/read_file.h"

namespace dfengine::weights {
namespace {

using test::message_of;

const std::filesystem::path kGoldens = test::golden_folder();

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

TEST(Hdf5File, ReadsEveryKindOfFloats) {
  expect_sample(read_tensor_file(kGoldens / "weights_sample.h5"));
}

// h5py stores a type that NumPy has not as opaque.
TEST(Hdf5File, OpaqueValuesOfTwoBytesAreBfloat16) {
  std::string file = test::slurp(kGoldens / "weights_sample.h5");
  const auto half = [&] {
    const TensorFile read = parse_hdf5(test::bytes_of(file), "file");
    const Tensor* tensor = read.find("second/half");
    return tensor == nullptr ? Tensor() : *tensor;
  };
  const Tensor before = half();
  EXPECT_EQ(before.dtype, DType::F16);
  constexpr std::string_view kHalf("\x11\x20\x0f\0\2\0\0\0\0\0\x10\0", 12);
  const std::size_t at = file.find(kHalf);
  ASSERT_NE(at, std::string::npos);
  file[at] = '\x15';  // the class: opaque instead of floating-point
  EXPECT_EQ(half().dtype, DType::BF16);
  EXPECT_EQ(half().bytes, before.bytes);
}

TEST(Hdf5File, AttributesBecomeMetadata) {
  auto metadata = read_tensor_file(kGoldens / "weights_sample.h5").metadata;
  EXPECT_EQ(metadata["@layer_names"], "second\nfirst");
  EXPECT_EQ(metadata["@backend"], "tensorflow");
  EXPECT_EQ(metadata["first@weight_names"], "first/kernel:0");
  EXPECT_EQ(metadata["@keras_version"], "2.1.5");  // variable length, as the next
  EXPECT_EQ(metadata["@model_config"],
            R"({"class_name": "Functional", "config": {"batch_shape": [null, 96, 96, 3]}})");
}

// (place - 3) / 4, the values of make_hdf5_goldens.py.
void expect_places(const TensorFile& file, const std::string& name, DType dtype,
                   const std::vector<std::int64_t>& shape) {
  const Tensor* tensor = file.find(name);
  ASSERT_NE(tensor, nullptr) << name;
  EXPECT_EQ(tensor->dtype, dtype) << name;
  ASSERT_EQ(tensor->shape, shape) << name;
  std::vector<float> expected;
  for (std::int64_t i = 0; i < tensor->count(); ++i)
    expected.push_back((static_cast<float>(i % 64) - 3.0f) / 4.0f);
  EXPECT_EQ(to_float(*tensor), expected) << name;
}

TEST(Hdf5File, ReadsTreesContinuationsAndChunks) {
  TensorFile file = read_tensor_file(kGoldens / "weights_more.h5");
  expect_places(file, "compact", DType::F32, {2, 3});
  expect_places(file, "deep_tree", DType::F32, {70, 2});
  expect_places(file, "doubles", DType::F64, {9});
  expect_places(file, "edges", DType::F32, {5, 4, 3});
  expect_places(file, "ordered/a", DType::F32, {2});
  expect_places(file, "ordered/b", DType::F32, {3});
  expect_places(file, "skipped", DType::F32, {4});
  for (int i = 0; i < 20; ++i)
    expect_places(file, "many/n" + std::string(i < 10 ? "0" : "") + std::to_string(i), DType::F32,
                  {1});
  EXPECT_EQ(file.tensors.size(), 27u);
  EXPECT_EQ(file.metadata["@keras_version"], "3.15.1");
  EXPECT_EQ(file.metadata["@layer_names"], "many\n\nordered");
  EXPECT_EQ(file.metadata["@backend"], "torch");
  EXPECT_EQ(file.metadata.size(), 3u);  // the empty model_config is no text
}

TEST(Hdf5File, ReadsTheNewHeaders) {
  TensorFile file = read_tensor_file(kGoldens / "weights_latest.h5");
  expect_places(file, "inner/half", DType::F16, {4});
  expect_places(file, "whole", DType::F32, {2, 3});
  EXPECT_EQ(file.tensors.size(), 2u);
  EXPECT_EQ(file.metadata["@keras_version"], "3.15.1");
}

// Every build has a zip reader, but without libzip it refuses all.
bool has_zip() {
  try {
    [[maybe_unused]] const ZipArchive archive(std::span<const std::byte>(), "empty");
    return true;
  } catch (const ModelFileError&) {
    return false;
  }
}

TEST(Hdf5File, KerasArchive) {
  if (!has_zip()) GTEST_SKIP() << "built without libzip";
  TensorFile file = read_tensor_file(kGoldens / "weights_sample.keras");
  expect_sample(file);
  EXPECT_EQ(file.metadata["@keras_version"], "3.15.1");
  EXPECT_EQ(file.metadata["@layer_names"], "second\nfirst");
}

TEST(Hdf5File, RefusesWhatLeadsAway) {
  const std::vector<std::pair<const char*, const char*>> cases = {
      {"soft_link", "soft or external link"},
      {"external_link", "soft or external link"},
      {"loop", "another place"},
      {"twice", "another place"},
      {"virtual", "virtual"},
      {"external_data", "in another file"},
      {"filter", "filter 3"},
      {"huge", "cannot hold [1048576, 1048576]"},
      {"huge_packed", "cannot hold [1048576, 1024]"},
      {"dense_links", "links in a fractal heap"},
      {"dense_attributes", "attributes in a fractal heap"},
      {"new_chunks", "chunks of the new kind"},
      {"chunk_missing", "has 1 chunks of 2"},
      {"named_type", "neither a group nor a whole data set"},
      {"odd_float", "not of IEEE floats"}};
  for (const auto& [name, cause] : cases) {
    const auto path = kGoldens / (std::string("weights_bad_") + name + ".h5");
    const auto message = message_of<ModelFileError>([&] { read_tensor_file(path); });
    EXPECT_NE(message.find(cause), std::string::npos) << name << ": " << message;
    EXPECT_NE(message.find(path.string()), std::string::npos) << message;
  }
}

// Whatever bytes the file ends at or has changed: a ModelFileError or a TensorFile.
TEST(Hdf5File, CutAndDamaged) {
  const auto whole = read_file(kGoldens / "weights_sample.h5");
  for (std::size_t size = 0; size < whole.size(); size += 211) {
    EXPECT_THROW(parse_hdf5(std::span(whole).first(size), "cut"), ModelFileError) << size;
  }
  std::size_t refused = 0;
  for (std::size_t at = 0; at < whole.size(); at += 3) {
    auto damaged = whole;
    damaged[at] ^= std::byte{0xFF};
    try {
      parse_hdf5(damaged, "damaged");
    } catch (const ModelFileError&) {
      ++refused;
    }
  }
  EXPECT_GT(refused, 0u);
}

// A header whose continuation is the header itself.
std::string little_endian(std::uint64_t value, int bytes) {
  std::string text;
  for (int i = 0; i < bytes; ++i) text += static_cast<char>(value >> (8 * i) & 255);
  return text;
}

// A file of one packed chunk that is a whole data set of zeros, in floats of 4 bytes.
std::optional<Tensor> read_zeros(std::uint64_t count, std::size_t rest_of_file) {
  const std::string zeros(4 * count, '\0');
  std::string packed(compressBound(zeros.size()), '\0');
  uLongf size = packed.size();
  compress(reinterpret_cast<Bytef*>(packed.data()), &size,
           reinterpret_cast<const Bytef*>(zeros.data()), zeros.size());
  packed.resize(size);
  // The tree of chunks: no siblings, and one key with its size, skipped filters and place.
  const std::string nowhere(16, '\xFF'), zero(8, '\0');
  std::string text = std::string("TREE\1\0\1\0", 8) + nowhere + little_endian(size, 4) +
                     std::string(4, '\0') + zero + zero;
  text += little_endian(text.size() + 8, 8) + packed;
  const std::vector<std::pair<Hdf5MessageType, std::string>> parts = {
      {Hdf5MessageType::Datatype,
       std::string("\x11\x20\x1F\0\4\0\0\0\0\0\x20\0\x17\x08\0\x17", 16) + little_endian(127, 4)},
      {Hdf5MessageType::Dataspace, std::string("\1\1\0\0\0\0\0\0", 8) + little_endian(count, 8)},
      {Hdf5MessageType::Layout, std::string("\3\2\2", 3) + little_endian(0, 8) +
                                    little_endian(count, 4) + little_endian(4, 4)},
      {Hdf5MessageType::Filters, std::string("\2\1\1\0\0\0\0\0", 8)}};
  std::vector<std::size_t> at;
  for (const auto& part : parts) {
    at.push_back(text.size());
    text += part.second;
  }
  text.resize(text.size() + rest_of_file, 'x');
  const auto bytes = std::as_bytes(std::span(text));
  const std::string name = "zeros.h5";
  Hdf5Bytes file(bytes, name);
  std::vector<Hdf5Message> messages;
  for (std::size_t i = 0; i < parts.size(); ++i)
    messages.push_back(
        {parts[i].first, false, file.open(at[i], parts[i].second.size(), "message")});
  return read_dataset(file, messages);
}

TEST(Hdf5File, PackedDataMayNotOutgrowTheFile) {
  EXPECT_EQ(read_zeros(1 << 18, 0)->bytes.size(), std::size_t{1} << 20)
      << "a little may be anything";
  const auto message = message_of<ModelFileError>([] { read_zeros(1 << 20, 0); });
  EXPECT_NE(message.find("zeros.h5"), std::string::npos) << message;
  EXPECT_NE(message.find("would grow to more than 16 times"), std::string::npos) << message;
  EXPECT_EQ(read_zeros(1 << 20, 1 << 18)->bytes.size(), std::size_t{1} << 22);
}

TEST(Hdf5File, CirclesEnd) {
  auto file = read_file(kGoldens / "weights_more.h5");
  const auto number = [&](std::size_t at, std::size_t width) {
    std::uint64_t value = 0;
    std::memcpy(&value, file.data() + at, width);
    return static_cast<std::size_t>(value);
  };
  constexpr std::size_t kRootAddress = 64, kPrefix = 16, kContinuation = 0x10;
  const std::size_t first = number(kRootAddress, 8) + kPrefix;
  const std::size_t end = first + number(first - 8, 4);
  std::size_t at = first;
  while (at < end && number(at, 2) != kContinuation) at += 8 + number(at + 2, 2);
  ASSERT_LT(at, end);
  const std::uint64_t loop[] = {first, end - first};
  std::memcpy(file.data() + at + 8, loop, sizeof(loop));
  const auto message = message_of<ModelFileError>([&] { parse_hdf5(file, "circle"); });
  EXPECT_NE(message.find("again and again"), std::string::npos) << message;
}

TEST(Hdf5File, CutArchive) {
  if (!has_zip()) GTEST_SKIP() << "built without libzip";
  const auto whole = read_file(kGoldens / "weights_sample.keras");
  for (std::size_t at = 1; at < whole.size(); at += 211) {
    auto damaged = whole;
    damaged[at] ^= std::byte{0xFF};
    try {
      ZipArchive archive(damaged, "damaged");
      if (is_keras_zip(archive)) expect_sample(parse_keras_zip(archive));  // outside what is read
    } catch (const ModelFileError&) {
    }
    EXPECT_THROW(ZipArchive(std::span(whole).first(at), "cut"), ModelFileError);
  }
}

}  // namespace
}  // namespace dfengine::weights
