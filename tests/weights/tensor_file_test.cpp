// Shape arithmetic, element types and conversions of Tensor.
#include "weights/tensor_file.h"

#include <gtest/gtest.h>

#include <cstring>
#include <limits>

#include "kernels/base/error.h"
#include "tests/weights/scratch_folder.h"

namespace dfengine::weights {
namespace {

using Dims = std::vector<std::int64_t>;

template <class T>
Tensor tensor_of(DType dtype, Dims shape, const std::vector<T>& values) {
  Tensor tensor{"t", dtype, std::move(shape), std::vector<std::byte>(values.size() * sizeof(T))};
  std::memcpy(tensor.bytes.data(), values.data(), tensor.bytes.size());
  return tensor;
}

TEST(CheckedCount, ProductsAndRefusals) {
  const std::int64_t big = std::int64_t{1} << 62;
  EXPECT_EQ(checked_count(Dims{}), 1);
  EXPECT_EQ(checked_count(Dims{2, 3, 5}), 30);
  EXPECT_EQ(checked_count(Dims{7, 0, 5}), 0);
  EXPECT_EQ(checked_count(Dims{big, 1}), big);
  EXPECT_EQ(checked_count(Dims{std::numeric_limits<std::int64_t>::max()}),
            std::numeric_limits<std::int64_t>::max());
  EXPECT_EQ(checked_count(Dims{-1}), std::nullopt);
  EXPECT_EQ(checked_count(Dims{0, -1}), std::nullopt);
  EXPECT_EQ(checked_count(Dims{big, 2}), std::nullopt);
  EXPECT_EQ(checked_count(Dims{big, big, 0}), std::nullopt);
  EXPECT_EQ(checked_count(Dims{0, big, big}), std::nullopt);
}

TEST(DType, NamesAndSizesAreInverse) {
  const std::vector<std::pair<const char*, std::size_t>> expected = {
      {"F64", 8}, {"F32", 4}, {"F16", 2}, {"BF16", 2}, {"I64", 8},
      {"I32", 4}, {"I16", 2}, {"I8", 1},  {"U8", 1},   {"BOOL", 1}};
  for (const auto& [name, size] : expected) {
    const auto dtype = dtype_from_name(name);
    ASSERT_TRUE(dtype) << name;
    EXPECT_STREQ(dtype_name(*dtype), name);
    EXPECT_EQ(dtype_size(*dtype), size) << name;
  }
  EXPECT_FALSE(dtype_from_name("F8_E4M3"));
  EXPECT_FALSE(dtype_from_name(""));
}

TEST(ToFloat, EachFloatType) {
  const std::vector<float> expected = {1.0f, -2.5f};
  EXPECT_EQ(to_float(tensor_of<float>(DType::F32, {2}, {1.0f, -2.5f})), expected);
  EXPECT_EQ(to_float(tensor_of<double>(DType::F64, {2, 1}, {1.0, -2.5})), expected);
  EXPECT_EQ(to_float(tensor_of<std::uint16_t>(DType::F16, {2}, {0x3C00, 0xC100})), expected);
  EXPECT_EQ(to_float(tensor_of<std::uint16_t>(DType::BF16, {2}, {0x3F80, 0xC020})), expected);
  EXPECT_EQ(to_float(tensor_of<double>(DType::F64, {}, {0.1})), std::vector<float>{0.1f});
}

TEST(ToFloat, RefusesOtherTypesAndNamesTheTensor) {
  for (const DType dtype :
       {DType::I64, DType::I32, DType::I16, DType::I8, DType::U8, DType::Bool}) {
    const Tensor tensor{"layer.7.bias", dtype, {1}, std::vector<std::byte>(dtype_size(dtype))};
    const auto message = test::message_of<ModelFileError>([&] { to_float(tensor); });
    EXPECT_NE(message.find("layer.7.bias"), std::string::npos) << message;
    EXPECT_NE(message.find(dtype_name(dtype)), std::string::npos) << message;
  }
}

TEST(ToFloat, RefusesBytesThatDoNotFitTheShape) {
  EXPECT_THROW(to_float({"t", DType::F32, {2}, std::vector<std::byte>(4)}), ModelFileError);
  EXPECT_THROW(to_float({"t", DType::F32, {2}, std::vector<std::byte>(9)}), ModelFileError);
  EXPECT_THROW(to_int64({"t", DType::I64, {1}, std::vector<std::byte>(9)}), ModelFileError);
  EXPECT_THROW(to_float({"t", DType::F32, {-1}, {}}), ShapeError);
}

TEST(ToInt64, ReadsI64Only) {
  const std::vector<std::int64_t> values = {std::int64_t{1} << 40, -7};
  EXPECT_EQ(to_int64(make_tensor("t", {2}, values)), values);
  EXPECT_THROW(to_int64(make_tensor("t", {1}, std::vector<float>{1.0f})), ModelFileError);
}

TEST(MakeTensor, KeepsValuesAndChecksTheShape) {
  const std::vector<float> values = {1.0f, 2.0f, 3.0f, 4.0f, 5.0f, 6.0f};
  const Tensor tensor = make_tensor("w", {2, 3}, values);
  EXPECT_EQ(tensor.name, "w");
  EXPECT_EQ(tensor.dtype, DType::F32);
  EXPECT_EQ(tensor.shape, (Dims{2, 3}));
  EXPECT_EQ(tensor.count(), 6);
  EXPECT_EQ(to_float(tensor), values);
  EXPECT_THROW(make_tensor("w", {2, 2}, values), ShapeError);
  EXPECT_THROW(make_tensor("w", {-2, -3}, values), ShapeError);
}

TEST(TensorFile, FindByName) {
  TensorFile file;
  file.tensors.push_back({"a", DType::F32, {0}, {}});
  file.tensors.push_back({"b", DType::U8, {0}, {}});
  EXPECT_EQ(file.find("b"), &file.tensors[1]);
  EXPECT_EQ(file.find("c"), nullptr);
}

TEST(Printable, CutsAndHidesControlBytes) {
  EXPECT_EQ(printable("a\nb\x1b[31m"), "a?b?[31m");
  EXPECT_LT(printable(std::string(100'000, 'x')).size(), 200u);
}

}  // namespace
}  // namespace dfengine::weights
