// Formats recognised by content; files that cannot be read.
#include "weights/read_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>

#include "kernels/base/error.h"
#include "tests/support/places.h"
#include "tests/weights/scratch_folder.h"
#include "weights/safetensors.h"

namespace dfengine::weights {
namespace {

using namespace std::string_view_literals;
using test::message_of;
using test::ScratchFolder;
using test::spill;

FileFormat sniff(std::string_view text) {
  return sniff_format(test::bytes_of(text));
}

TEST(SniffFormat, ByFirstBytes) {
  EXPECT_EQ(sniff("\x08\0\0\0\0\0\0\0{}      "sv), FileFormat::Safetensors);
  // Header lengths that look like the start of other formats.
  EXPECT_EQ(sniff("\x80\x02\0\0\0\0\0\0{}"sv), FileFormat::Safetensors);
  EXPECT_EQ(sniff("PK\x03\x04\0\0\0\0{}"sv), FileFormat::Safetensors);
  EXPECT_EQ(sniff("\x80\x02\x8a\x0al\xfc\x9c\x46\xf9 j\xa8P\x19."sv), FileFormat::TorchPickle);
  EXPECT_EQ(sniff("PK\x03\x04\x14\0\0\0\0\0\0\0"sv), FileFormat::Zip);
  EXPECT_EQ(sniff("\x89HDF\r\n\x1a\n\0\0\0\0\0"sv), FileFormat::Hdf5);
  EXPECT_EQ(sniff("\x08\x07\x12\x07pytorch\x1a\x03"sv), FileFormat::Onnx);
  EXPECT_EQ(sniff("\x08\x03:\x95\x02"sv), FileFormat::Onnx);
  EXPECT_EQ(sniff(""), FileFormat::Unknown);
  EXPECT_EQ(sniff("\x80"sv), FileFormat::Unknown);
  EXPECT_EQ(sniff("\xff\xd8\xff\xe0\0\x10JFIF"sv), FileFormat::Unknown);
  EXPECT_EQ(sniff("<!DOCTYPE html>"), FileFormat::Unknown);
}

TEST(ReadTensorFile, IgnoresTheName) {
  const ScratchFolder folder;
  TensorFile file;
  file.tensors.push_back(make_tensor("w", {2}, std::vector<float>{1.0f, 2.0f}));
  write_safetensors(folder.path() / "model.onnx", file);
  const TensorFile read = read_tensor_file(folder.path() / "model.onnx");
  ASSERT_NE(read.find("w"), nullptr);
  EXPECT_EQ(to_float(*read.find("w")), (std::vector<float>{1.0f, 2.0f}));
}

TEST(ReadTensorFile, NamesTheFormatItCannotRead) {
  const ScratchFolder folder;
  const auto path = folder.path() / "model.safetensors";
  const std::vector<std::pair<std::string_view, const char*>> cases = {
      {"\x80\x02\x8a\x0al\xfc\x9c\x46\xf9"sv, "pickle"},
      {"PK\x03\x04\x14\0\0\0"sv, "zip"},
      {"\x89HDF\r\n\x1a\n"sv, "HDF5"},
      {"\x08\x07\x12\x07pytorch"sv, "ONNX model"},
      {""sv, "is empty"},
      {"hello, world"sv, "is a text, no weights: \"hello, world\""},
      {"\x01\x02\x03\x04\x05\x06\x07\x08\x09"sv, "none of"},
      {"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"sv, "Git LFS pointer"},
      {"../.git/annex/objects/ab/cd/x"sv, "git-annex pointer"},
      {"\n <!DOCTYPE html>\n<html>"sv, "web page"},
      {"<?xml version=\"1.0\"?><Error/>"sv, "XML"},
      {"{\"error\": \"not found\"}"sv, "JSON"},
      {"\x1f\x8b\x08\0"sv, "gzip"},
      {"\x1c\0\0\0TFL3"sv, "TensorFlow Lite"},
      {"\xff\xd8\xff\xe0"sv, "JPEG picture"},
      {"\0\0\0\0\0\0\0\0\0\0"sv, "nothing but zeros"}};
  for (const auto& [content, word] : cases) {
    spill(path, content);
    const auto message = message_of<ModelFileError>([&] { read_tensor_file(path); });
    EXPECT_NE(message.find(word), std::string::npos) << message;
    EXPECT_NE(message.find(path.string()), std::string::npos) << message;
  }
}

TEST(ReadFile, RefusesWhatIsNoRegularFile) {
  const ScratchFolder folder;
  const auto reason = [&](const std::filesystem::path& path) {
    return message_of<ModelFileError>([&] { read_file(path); });
  };
  EXPECT_NE(reason(folder.path() / "missing").find("No such file"), std::string::npos);
  EXPECT_NE(reason(folder.path()).find("is an empty folder"), std::string::npos);
  spill(folder.path() / "saved_model.pb", "x");
  EXPECT_NE(reason(folder.path()).find("SavedModel"), std::string::npos);
  std::filesystem::remove(folder.path() / "saved_model.pb");
  spill(folder.path() / "model.safetensors", "x");
  EXPECT_NE(reason(folder.path()).find("name the file in it: model.safetensors"),
            std::string::npos);
  ASSERT_EQ(mkfifo((folder.path() / "pipe").c_str(), 0600), 0);
  EXPECT_NE(reason(folder.path() / "pipe").find("not a regular file"), std::string::npos);
}

TEST(ReadFile, RefusesAHugeSparseFileWithoutAllocatingIt) {
  const ScratchFolder folder;
  spill(folder.path() / "huge", "x");
  std::filesystem::resize_file(folder.path() / "huge", std::uintmax_t{1} << 40);
  const auto message = message_of<ModelFileError>([&] { read_file(folder.path() / "huge"); });
  EXPECT_NE(message.find("too many"), std::string::npos) << message;
}

class RealFiles : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = test::data_folder() / "weights";
    if (!std::filesystem::exists(folder_)) {
      GTEST_SKIP() << "no weights folder in the test data; set DFENGINE_DATA";
    }
  }
  std::filesystem::path folder_;
};

TEST_F(RealFiles, TorchvisionSafetensors) {
  const TensorFile file = read_tensor_file(folder_ / "mobilenet_v2_100_torchvision.safetensors");
  std::int64_t parameters = 0;
  for (const Tensor& tensor : file.tensors) {
    if (tensor.name.find("running_") == std::string::npos && tensor.dtype == DType::F32) {
      parameters += tensor.count();
    }
  }
  EXPECT_EQ(parameters, 3'504'872);
  const Tensor* stem = file.find("features.0.0.weight");
  ASSERT_NE(stem, nullptr);
  EXPECT_EQ(stem->shape, (std::vector<std::int64_t>{32, 3, 3, 3}));
  // What we write from it reads back the same.
  const TensorFile again = parse_safetensors(serialize_safetensors(file, file.metadata), "again");
  ASSERT_EQ(again.tensors.size(), file.tensors.size());
  for (std::size_t i = 0; i < file.tensors.size(); ++i) {
    EXPECT_EQ(again.tensors[i].name, file.tensors[i].name);
    EXPECT_EQ(again.tensors[i].bytes, file.tensors[i].bytes);
  }
}

}  // namespace
}  // namespace dfengine::weights
