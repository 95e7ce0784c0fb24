// safetensors: goldens of the Python package, our writer byte for byte, hostile files.
// The goldens come from tests/golden/make_weights_goldens.py.
#include "weights/safetensors.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/base/error.h"
#include "tests/support/places.h"
#include "tests/weights/scratch_folder.h"
#include "weights/content_digest.h"

namespace dfengine::weights {
namespace {

using namespace std::string_literals;
using namespace std::string_view_literals;
using test::bytes_of;
using test::message_of;
using test::slurp;

const std::filesystem::path kGolden = test::golden_folder();

template <class T>
Tensor tensor_of(std::string name, DType dtype, std::vector<std::int64_t> shape,
                 const std::vector<T>& values) {
  Tensor tensor{std::move(name), dtype, std::move(shape), {}};
  const auto bytes = std::as_bytes(std::span(values));
  tensor.bytes.assign(bytes.begin(), bytes.end());
  return tensor;
}

// SAMPLE and METADATA of make_weights_goldens.py.
TensorFile sample() {
  const float inf = std::numeric_limits<float>::infinity();
  TensorFile file;
  file.metadata = {{"arch", "mobilenet_v2"}, {"classes", "fake \"äöü\"\n"}};
  file.tensors = {
      tensor_of<float>("f32", DType::F32, {2, 3}, {0.0f, -1.5f, 3.25f, 1e-40f, inf, 65504.0f}),
      tensor_of<std::uint16_t>("f16", DType::F16, {3}, {0x3800, 0xC000, 0x0001}),
      tensor_of<std::uint16_t>("bf16", DType::BF16, {2}, {0x3F80, 0xC040}),
      tensor_of<double>("f64", DType::F64, {1}, {0.1}),
      tensor_of<std::int64_t>("i64", DType::I64, {2}, {(std::int64_t{1} << 40) + 1, -7}),
      tensor_of<std::int32_t>("i32", DType::I32, {1}, {-5}),
      tensor_of<std::int16_t>("i16", DType::I16, {1}, {-300}),
      tensor_of<std::int64_t>("scalar", DType::I64, {}, {12}),
      tensor_of<float>("empty", DType::F32, {0, 3}, {}),
      tensor_of<std::uint8_t>("u8", DType::U8, {3}, {255, 1, 2}),
      tensor_of<std::int8_t>("i8", DType::I8, {1}, {-128}),
      tensor_of<std::uint8_t>("bool", DType::Bool, {2}, {1, 0})};
  return file;
}

void expect_same_tensors(const TensorFile& got, const TensorFile& expected) {
  EXPECT_EQ(got.metadata, expected.metadata);
  EXPECT_EQ(got.tensors.size(), expected.tensors.size());
  for (const Tensor& tensor : expected.tensors) {
    const Tensor* found = got.find(tensor.name);
    ASSERT_NE(found, nullptr) << tensor.name;
    EXPECT_EQ(found->dtype, tensor.dtype) << tensor.name;
    EXPECT_EQ(found->shape, tensor.shape) << tensor.name;
    EXPECT_EQ(found->bytes, tensor.bytes) << tensor.name;
  }
}

// A file with that header text and that many bytes of data.
std::string file_of(std::string_view header, std::size_t data_size = 0) {
  std::string file(8, '\0');
  const std::uint64_t length = header.size();
  std::memcpy(file.data(), &length, 8);
  return file.append(header).append(data_size, 'd');
}

std::vector<std::byte> serialize(const TensorFile& file) {
  return serialize_safetensors(file, file.metadata);
}

TensorFile parse(std::string_view file) {
  return parse_safetensors(bytes_of(file), "model.safetensors");
}

TEST(Safetensors, ReadsWhatPythonWrote) {
  expect_same_tensors(read_safetensors(kGolden / "weights_python.safetensors"), sample());
}

TEST(Safetensors, WritesTheBytesThatPythonReadsBack) {
  const auto bytes = serialize(sample());
  EXPECT_EQ(bytes, bytes_of(slurp(kGolden / "weights_ours.safetensors")));
}

TEST(Safetensors, RoundTripThroughAFileKeepsTheOrder) {
  const test::ScratchFolder folder;
  write_safetensors(folder.path() / "a.safetensors", sample());
  const TensorFile read = read_safetensors(folder.path() / "a.safetensors");
  expect_same_tensors(read, sample());
  for (std::size_t i = 0; i < read.tensors.size(); ++i) {
    EXPECT_EQ(read.tensors[i].name, sample().tensors[i].name);
  }
}

TEST(Safetensors, TheDigestSeesEveryChangedBitOfWhatAFileSays) {
  const test::ScratchFolder folder;
  const auto path = folder.path() / "a.safetensors";
  TensorFile file = sample();
  file.metadata["temperature"] = "1.5";
  write_safetensors(path, file);
  const TensorFile read = read_safetensors(path);
  EXPECT_TRUE(read.has_digest);
  EXPECT_EQ(read.metadata, file.metadata);
  const std::string whole = slurp(path);
  int unseen = 0;
  for (std::size_t i = 0; i < whole.size(); ++i) {
    std::string damaged = whole;
    damaged[i] = static_cast<char>(damaged[i] ^ 1);
    try {
      const TensorFile changed = parse(damaged);
      // What is left is the entry's own name, without which there is no digest.
      if (changed.has_digest) FAIL() << "byte " << i;
      ++unseen;
    } catch (const ModelFileError&) {
    }
  }
  EXPECT_LE(unseen, static_cast<int>(std::string(kDigestEntry).size()));
}

TEST(Safetensors, FilesWithoutADigestLoad) {
  const TensorFile file = parse_safetensors(serialize(sample()), "old");
  EXPECT_FALSE(file.has_digest);
  expect_same_tensors(file, sample());
}

// Another program may write the header in its own way.
TEST(Safetensors, TheDigestIsOfTheContentAndNotOfTheHeader) {
  TensorFile file = sample();
  file.metadata[kDigestEntry] = content_digest(file);
  std::ranges::reverse(file.tensors);
  EXPECT_TRUE(parse_safetensors(serialize(file), "again").has_digest);
  file.tensors[0].bytes.at(0) ^= std::byte{1};
  EXPECT_NE(message_of<ModelFileError>([&] {
              parse_safetensors(serialize(file), "again");
            }).find("again: damaged"),
            std::string::npos);
}

TEST(Safetensors, SmallestFiles) {
  EXPECT_TRUE(parse(file_of("{}")).tensors.empty());
  EXPECT_TRUE(parse(file_of("{}   ")).tensors.empty());
  EXPECT_TRUE(parse(file_of(R"({"__metadata__":{}})")).metadata.empty());
  EXPECT_EQ(serialize({}), bytes_of(file_of("{}      ")));
}

TEST(Safetensors, HeaderOrderMayDifferFromDataOrder) {
  const TensorFile file = parse(file_of(R"({"b":{"data_offsets":[1,3],"shape":[2],"dtype":"U8"},)"
                                        R"("e":{"dtype":"F32","shape":[0],"data_offsets":[1,1]},)"
                                        R"("a":{"dtype":"BOOL","shape":[],"data_offsets":[0,1]}})",
                                        3));
  ASSERT_EQ(file.tensors.size(), 3u);
  EXPECT_EQ(file.tensors[0].name, "b");
  EXPECT_EQ(file.tensors[0].bytes.size(), 2u);
  EXPECT_EQ(file.tensors[1].bytes.size(), 0u);
}

TEST(Safetensors, TypesThatTheEngineHasNotAreLeftOutAndNamed) {
  const TensorFile file = parse(file_of(R"({"a":{"dtype":"C64","shape":[2],"data_offsets":[0,16]},)"
                                        R"("b":{"dtype":"U8","shape":[1],"data_offsets":[16,17]},)"
                                        R"("c":{"dtype":"F8_E4M3","shape":[3],)"
                                        R"("data_offsets":[17,20]}})",
                                        20));
  ASSERT_EQ(file.tensors.size(), 1u);
  EXPECT_EQ(file.tensors[0].name, "b");
  EXPECT_EQ(file.metadata.at("left_out"), "tensors of types not read: a (C64), c (F8_E4M3)\n");
}

TEST(Safetensors, MoreTensorsThanANetworkHasAreRefused) {
  std::string header = "{";
  for (int i = 0; i <= 65'536; ++i)
    header += fmt::format(R"({}"{}":{{{}}})", i == 0 ? "" : ",", i,
                          R"("dtype":"U8","shape":[0],"data_offsets":[0,0])");
  const auto message = message_of<ModelFileError>([&] { parse(file_of(header + "}")); });
  EXPECT_NE(message.find("\"65536\": comes after 65536 tensors"), std::string::npos) << message;
}

TEST(Safetensors, EveryCutFileIsRefused) {
  const std::string whole = slurp(kGolden / "weights_python.safetensors");
  for (std::size_t size = 0; size < whole.size(); ++size) {
    EXPECT_THROW(parse(std::string_view(whole).substr(0, size)), ModelFileError) << size;
  }
  EXPECT_THROW(parse(whole + "x"), ModelFileError);
}

TEST(Safetensors, EveryChangedByteIsReadOrRefused) {
  const std::string whole = slurp(kGolden / "weights_python.safetensors");
  int refused = 0;
  for (std::size_t at = 0; at < whole.size(); ++at) {
    for (const char value : {'\0', '9', '"', '}', '\xff'}) {
      std::string changed = whole;
      changed[at] = value;
      try {
        parse(changed);
      } catch (const ModelFileError&) {
        ++refused;
      }
    }
  }
  EXPECT_GT(refused, 1000);
}

struct Hostile {
  const char* label;
  std::string file;
  const char* cause;  // must be in the message
};

std::string one(std::string_view fields, std::size_t data_size = 0) {
  return file_of(fmt::format(R"({{"evil":{{{}}}}})", fields), data_size);
}

const std::string kOnes65 = fmt::format("{}", fmt::join(std::vector<int>(65, 1), ","));
const std::string kGood = R"("dtype":"U8","shape":[0],"data_offsets":[0,0])";

const std::vector<Hostile> kBadLengths = {
    {"empty", "", "too few"},
    {"seven bytes", std::string(7, '\0'), "too few"},
    {"no header", std::string(8, '\0'), "must begin with '{'"},
    {"length 2^64-1", std::string(8, '\xff') + "{}", "limit"},
    {"length 2^63", "\0\0\0\0\0\0\0\x80{}"s, "limit"},
    {"length just over the limit", "\x01\xe1\xf5\x05\0\0\0\0{}"s, "limit"},
    {"length at the limit, short file", "\0\xe1\xf5\x05\0\0\0\0{}"s, "behind the end"},
    {"length one too long", "\x03\0\0\0\0\0\0\0{}"s, "behind the end"}};

const std::vector<Hostile> kBadJson = {
    {"array", file_of("[]"), "must begin with '{'"},
    {"leading space", file_of(" {}"), "must begin with '{'"},
    {"byte order mark", file_of("\xef\xbb\xbf{}"), "must begin with '{'"},
    {"open", file_of("{"), "not valid JSON"},
    {"rubbish behind", file_of("{}x"), "not valid JSON"},
    {"two objects", file_of("{}{}"), "not valid JSON"},
    {"zero behind", file_of("{}\0"sv), "zero byte at byte 10"},
    {"zero inside", file_of("{\0}"sv), "zero byte at byte 9"},
    {"comment", file_of("{/**/}"), "not valid JSON"},
    {"trailing comma", file_of("{\"evil\":{" + kGood + "},}"), "not valid JSON"},
    {"bad UTF-8 in a name", file_of("{\"\xc3(\":{" + kGood + "}}"), "not valid JSON"},
    {"overlong UTF-8", file_of("{\"\xc0\x80\":{" + kGood + "}}"), "not valid JSON"},
    {"lone surrogate", file_of("{\"\\ud800\":{" + kGood + "}}"), "not valid JSON"},
    {"control character", file_of("{\"a\nb\":{" + kGood + "}}"), "not valid JSON"},
    {"number too large", one(R"("dtype":"U8","shape":[1e999],"data_offsets":[0,0])"), "not valid"},
    {"deep arrays", file_of("{\"evil\":" + std::string(1'000'000, '[')), "array where none"},
    {"deep objects", one(R"("dtype":{"a":{"a":{}}})"), "object where none"},
    {"deep shape", one("\"shape\":[" + std::string(1'000'000, '[')), "array where none"}};

const std::vector<Hostile> kBadFields = {
    {"tensor is a number", file_of(R"({"evil":1})"), "number where none"},
    {"tensor is null", file_of(R"({"evil":null})"), "null where none"},
    {"tensor is a list", file_of(R"({"evil":[]})"), "array where none"},
    {"tensor is a string", file_of(R"({"evil":"x"})"), "string where none"},
    {"no fields", one(""), "\"dtype\" is missing"},
    {"no dtype", one(R"("shape":[0],"data_offsets":[0,0])"), "\"dtype\" is missing"},
    {"no shape", one(R"("dtype":"U8","data_offsets":[0,0])"), "\"shape\" is missing"},
    {"no offsets", one(R"("dtype":"U8","shape":[0])"), "\"data_offsets\" is missing"},
    {"unknown field", one(kGood + R"(,"stride":[1])"), "unknown field"},
    {"dtype twice", one(kGood + R"(,"dtype":"U8")"), "appears twice"},
    {"shape twice", one(kGood + R"(,"shape":[0])"), "appears twice"},
    {"offsets twice", one(kGood + R"(,"data_offsets":[0,0])"), "appears twice"},
    {"unknown dtype", one(R"("dtype":"F4")"), "\"F4\" is not supported"},
    {"dtype in lower case", one(R"("dtype":"f32")"), "not supported"},
    {"dtype is a number", one(R"("dtype":3)"), "number where none"},
    {"dtype is true", one(R"("dtype":true)"), "true or false"},
    {"shape is a number", one(R"("shape":3)"), "number where none"},
    {"shape holds a string", one(R"("shape":["3"])"), "string where none"},
    {"shape holds null", one(R"("shape":[null])"), "null where none"},
    {"negative dimension", one(R"("dtype":"U8","shape":[-1],"data_offsets":[0,0])"), "number -1"},
    {"fractional dimension", one(R"("shape":[1.5])"), "1.5 is not a size"},
    {"exponent dimension", one(R"("shape":[1e0])"), "1e0 is not a size"},
    {"dimension 2^63", one(R"("shape":[9223372036854775808])"), "is too large"},
    {"dimension 2^64", one(R"("shape":[18446744073709551616])"), "is not a size"},
    {"65 dimensions", one("\"shape\":[" + kOnes65 + "]"), "more than 64 dimensions"},
    {"one offset", one(R"("data_offsets":[0])"), "1 numbers, not 2"},
    {"three offsets", one(R"("data_offsets":[0,0,0])"), "number where none"},
    {"negative offset", one(R"("data_offsets":[-1,0])"), "number -1"},
    {"offset is a string", one(R"("data_offsets":["0",0])"), "string where none"}};

const std::vector<Hostile> kBadLayouts = {
    {"begin behind end", one(R"("dtype":"U8","shape":[1],"data_offsets":[2,1])", 2), "begins at 2"},
    {"end behind the data", one(R"("dtype":"U8","shape":[4],"data_offsets":[0,4])", 3),
     "which has 3"},
    {"end at 2^64-1",
     one(R"("dtype":"U8","shape":[1],"data_offsets":[18446744073709551614,18446744073709551615])",
         1),
     "which has 1"},
    {"too few bytes", one(R"("dtype":"F32","shape":[2],"data_offsets":[0,4])", 4), "do not fit"},
    {"too few bytes of another type", one(R"("dtype":"U32","shape":[2],"data_offsets":[0,4])", 4),
     "do not fit U32 [2]"},
    {"too many bytes", one(R"("dtype":"F32","shape":[1],"data_offsets":[0,5])", 5), "do not fit"},
    {"product 2^64", one(R"("dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,0])"),
     "do not fit"},
    {"product 2^65+1 bytes wraps",
     one(R"("dtype":"F64","shape":[2305843009213693953],"data_offsets":[0,8])", 8), "do not fit"},
    {"overflow beside a zero",
     one(R"("dtype":"U8","shape":[4294967296,4294967296,0],"data_offsets":[0,0])"), "do not fit"},
    {"data without tensors", file_of("{}", 1), "1 bytes after the last tensor"},
    {"hole at the start", one(R"("dtype":"U8","shape":[1],"data_offsets":[1,2])", 2), "hole"},
    {"hole between",
     file_of(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
             R"("evil":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}})",
             3),
     "hole"},
    {"overlap",
     file_of(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)"
             R"("evil":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})",
             3),
     "overlap"},
    {"shared data",
     file_of(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)"
             R"("evil":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})",
             2),
     "overlap"},
    {"empty tensor inside another",
     file_of(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)"
             R"("evil":{"dtype":"U8","shape":[0],"data_offsets":[1,1]}})",
             2),
     "overlap"},
    {"name twice",
     file_of(R"({"evil":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
             R"("\u0065vil":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
             2),
     "appears twice"}};

const std::vector<Hostile> kBadMetadata = {
    {"metadata twice", file_of(R"({"__metadata__":{},"__metadata__":{}})"), "appears twice"},
    {"metadata is a string", file_of(R"({"__metadata__":"x"})"), "string where none"},
    {"metadata is a list", file_of(R"({"__metadata__":[]})"), "array where none"},
    {"metadata holds a number", file_of(R"({"__metadata__":{"a":1}})"), "number where none"},
    {"metadata holds an object", file_of(R"({"__metadata__":{"a":{}}})"), "object where none"},
    {"metadata holds a list", file_of(R"({"__metadata__":{"a":[]}})"), "array where none"},
    {"metadata holds null", file_of(R"({"__metadata__":{"a":null}})"), "null where none"},
    {"metadata key twice", file_of(R"({"__metadata__":{"a":"1","a":"2"}})"), "appears twice"}};

TEST(Safetensors, HostileFilesAreRefusedWithTheCause) {
  for (const auto& table : {kBadLengths, kBadJson, kBadFields, kBadLayouts, kBadMetadata}) {
    for (const Hostile& hostile : table) {
      SCOPED_TRACE(hostile.label);
      const auto message = message_of<ModelFileError>([&] { parse(hostile.file); });
      EXPECT_NE(message.find(hostile.cause), std::string::npos) << message;
      EXPECT_TRUE(message.starts_with("model.safetensors: ")) << message;
      EXPECT_LT(message.size(), 400u);
    }
  }
}

TEST(Safetensors, FieldErrorsNameTheTensor) {
  for (const auto& table : {kBadFields, kBadLayouts}) {
    for (const Hostile& hostile : table) {
      if (hostile.file.find("evil") == std::string::npos) continue;
      const auto message = message_of<ModelFileError>([&] { parse(hostile.file); });
      EXPECT_NE(message.find("evil"), std::string::npos) << hostile.label << ": " << message;
    }
  }
}

TEST(Safetensors, WriterRefusesWhatTheFormatCannotHold) {
  const Tensor good = make_tensor("w", {1}, std::vector<float>{1.0f});
  const auto refused = [](TensorFile file) {
    return message_of<ModelFileError>([&] { serialize(file); });
  };
  Tensor reserved = good, misfit = good, not_text = good, deep = good;
  reserved.name = "__metadata__";
  misfit.shape = {2};
  not_text.name = "\xff";
  deep.shape.assign(65, 1);
  EXPECT_NE(refused({{reserved}, {}}).find("reserved"), std::string::npos);
  EXPECT_NE(refused({{misfit}, {}}).find("do not fit"), std::string::npos);
  EXPECT_NE(refused({{not_text}, {}}).find("UTF-8"), std::string::npos);
  EXPECT_NE(refused({{deep}, {}}).find("dimensions"), std::string::npos);
  EXPECT_NE(refused({{good, good}, {}}).find("appears twice"), std::string::npos);
  EXPECT_NE(refused({{good}, {{"key", "\xc3("}}}).find("UTF-8"), std::string::npos);
}

}  // namespace
}  // namespace dfengine::weights
