// PyTorch files: goldens of torch.save, every cut and changed byte, what must be refused by name.
// The goldens come from tests/golden/make_torch_goldens.py.
#include "weights/torch/torch_file.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>

#include "kernels/base/error.h"
#include "tests/support/places.h"
#include "tests/weights/scratch_folder.h"
#include "weights/read_file.h"
#include "weights/safetensors.h"

namespace dfengine::weights {
namespace {

using namespace std::string_literals;
using test::bytes_of;
using test::message_of;
using test::slurp;

const std::filesystem::path kGolden = test::golden_folder();

TensorFile parse(std::string_view file) {
  const auto bytes = bytes_of(file);
  if (!file.starts_with("PK")) return parse_torch_legacy(bytes, "model.pth");
  ZipArchive archive(bytes, "model.pth");
  return parse_torch_zip(archive);
}

std::string golden(const std::string& name) {
  return slurp(kGolden / ("weights_torch_" + name));
}

// A build without libzip reads legacy files only.
bool reads_zip() {
  try {
    ZipArchive(bytes_of(golden("zip.pth")), "golden");
  } catch (const ModelFileError& error) {
    EXPECT_NE(std::string(error.what()).find("DFENGINE_ZIP"), std::string::npos) << error.what();
    return false;
  }
  return true;
}

void expect_same_tensors(const TensorFile& got, const TensorFile& expected) {
  EXPECT_EQ(got.tensors.size(), expected.tensors.size());
  for (const Tensor& tensor : expected.tensors) {
    const Tensor* found = got.find(tensor.name);
    ASSERT_NE(found, nullptr) << tensor.name;
    EXPECT_EQ(found->dtype, tensor.dtype) << tensor.name;
    EXPECT_EQ(found->shape, tensor.shape) << tensor.name;
    EXPECT_EQ(found->bytes, tensor.bytes) << tensor.name;
  }
}

class TorchFile : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    file_ = golden(GetParam());
    if (file_.starts_with("PK") && !reads_zip()) GTEST_SKIP() << "built without libzip";
  }
  std::string file_;
};

// Both containers, and the zip compressed.
class TorchSample : public TorchFile {};

TEST_P(TorchSample, GivesTheTensorsThatPythonSaved) {
  const TensorFile read = parse(file_);
  expect_same_tensors(read, read_safetensors(kGolden / "weights_torch_expected.safetensors"));
  EXPECT_EQ(read.tensors[0].name, "dense");
  EXPECT_TRUE(read.metadata.empty());
}

TEST_P(TorchSample, IsFoundByContent) {
  const TensorFile read = read_tensor_file(kGolden / ("weights_torch_"s + GetParam()));
  EXPECT_EQ(read.tensors.size(), 19u);
}

TEST_P(TorchSample, EveryCutFileIsRefused) {
  for (std::size_t size = 0; size < file_.size(); ++size) {
    EXPECT_THROW(parse(std::string_view(file_).substr(0, size)), ModelFileError) << size;
  }
}

TEST_P(TorchSample, EveryChangedByteIsReadOrRefused) {
  // Checksums find most changes of a zip file; the pickle behind them is tried in the legacy form.
  const std::string flips = file_.starts_with("PK") ? "\xff"s : "\x01\x10\x55\x80\xff"s;
  std::size_t refused = 0;
  for (std::size_t at = 0; at < file_.size(); ++at) {
    for (const char flip : flips) {
      std::string changed = file_;
      changed[at] = static_cast<char>(changed[at] ^ flip);
      try {
        parse(changed);
      } catch (const ModelFileError&) {
        ++refused;
      }
    }
  }
  EXPECT_GT(refused, file_.size() / 4);
}

INSTANTIATE_TEST_SUITE_P(Containers, TorchSample,
                         testing::Values("zip.pth", "legacy.pth", "deflated.pth"));

class TorchEvil : public TorchFile {};

TEST_P(TorchEvil, ForeignObjectsAreSkippedAndNeverRun) {
  const TensorFile read = parse(file_);  // beside w a call of os.system
  ASSERT_EQ(read.tensors.size(), 1u);
  EXPECT_EQ(read.tensors[0].name, "w");
}

INSTANTIATE_TEST_SUITE_P(Containers, TorchEvil, testing::Values("evil.pth", "evil_legacy.pth"));

class TorchWrapped : public TorchFile {};

TEST_P(TorchWrapped, NamesAreThePathsToTheTensors) {
  const TensorFile read = parse(file_);
  ASSERT_NE(read.find("model.module.w"), nullptr);
  EXPECT_EQ(to_float(*read.find("model.module.w")), (std::vector<float>{-3, -2, -1}));
  EXPECT_EQ(to_int64(*read.find("model.module.n")), std::vector<std::int64_t>{1});
  EXPECT_NE(read.find("model_ema.module.w"), nullptr);
}

INSTANTIATE_TEST_SUITE_P(Containers, TorchWrapped, testing::Values("wrapped.pth"));

class TorchBigEndian : public TorchFile {};

TEST_P(TorchBigEndian, IsRefused) {
  const auto message = message_of<ModelFileError>([&] { parse(file_); });
  EXPECT_NE(message.find("little-endian"), std::string::npos) << message;
}

INSTANTIATE_TEST_SUITE_P(Containers, TorchBigEndian, testing::Values("big.pth"));

TEST(TorchFile, Python2WroteDictsAsLists) {
  const TensorFile read = parse(golden("python2.pth"));
  ASSERT_EQ(read.tensors.size(), 1u);
  EXPECT_EQ(to_float(read.tensors[0]), (std::vector<float>{1.5f, -2.0f}));
}

TEST(TorchFile, ZipThatIsNoneOfTorchIsNamed) {
  if (!reads_zip()) GTEST_SKIP() << "built without libzip";
  std::string file = golden("deflated.pth");
  for (std::size_t at; (at = file.find("data.pkl")) != std::string::npos;) file[at] = 'x';
  const test::ScratchFolder folder;
  test::spill(folder.path() / "a.pth", file);
  const auto message =
      message_of<ModelFileError>([&] { read_tensor_file(folder.path() / "a.pth"); });
  EXPECT_NE(message.find("data.pkl"), std::string::npos) << message;
}

// A zip entry that claims more than any archive of that size may hold.
TEST(TorchFile, ZipBombIsRefused) {
  if (!reads_zip()) GTEST_SKIP() << "built without libzip";
  std::string file = golden("deflated.pth");
  const std::size_t central = file.find("PK\x01\x02");
  const std::size_t entry = file.rfind("PK\x01\x02", file.find("data.pkl", central));
  const std::uint32_t claimed = 0x7fffffff;
  std::memcpy(file.data() + entry + 24, &claimed, sizeof(claimed));  // uncompressed size
  const auto message = message_of<ModelFileError>([&] { parse(file); });
  EXPECT_NE(message.find("claims 2147483647 bytes"), std::string::npos) << message;
}

// Legacy files made by hand ----------------------------------------------------------------------

std::string text(std::string_view value) {
  return "U"s + static_cast<char>(value.size()) + std::string(value);
}

const std::string kMagic = "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."s;
const std::string kProtocol = "\x80\x02M\xe9\x03."s;
const std::string kStorage =
    "(" + text("storage") + "ctorch\nFloatStorage\n" + text("k") + text("cpu") + "K\x06NtQ";

// One float storage "k" of 0, 1, ... 5 behind an object's operations.
std::string legacy(const std::string& object, const std::string& system = "}") {
  std::string file = kMagic + kProtocol + "\x80\x02" + system + ".\x80\x02" + object + "." +
                     "\x80\x02]" + text("k") + "a.";
  const std::int64_t count = 6;
  const float values[6] = {0, 1, 2, 3, 4, 5};
  file.append(reinterpret_cast<const char*>(&count), sizeof(count));
  return file.append(reinterpret_cast<const char*>(values), sizeof(values));
}

// The operations for {"w": tensor}; shape and strides are operations that push a tuple.
std::string state(const std::string& shape, const std::string& strides,
                  const std::string& offset = "K\x00"s) {
  return "}" + text("w") + "ctorch._utils\n_rebuild_tensor_v2\n(" + kStorage + offset + shape +
         strides + "\x89}tRs";
}

TEST(TorchLegacy, ViewsMayReachEveryElementOfTheStorage) {
  const auto values = [](const std::string& object) {
    return to_float(parse(legacy(object)).tensors.at(0));
  };
  using Floats = std::vector<float>;
  EXPECT_EQ(values(state("K\x06\x85", "K\x01\x85")), (Floats{0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(values(state("K\x03\x85", "K\x02\x85", "K\x01")), (Floats{1, 3, 5}));
  EXPECT_EQ(values(state("K\x02K\x03\x86", "K\x01K\x02\x86")), (Floats{0, 2, 4, 1, 3, 5}));
  EXPECT_EQ(values(state("K\x03K\x01K\x02\x87", "K\x02K\xffK\x01\x87")),
            (Floats{0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(values(state("K\x02K\x01K\x02\x87", "K\x01K\xffK\x03\x87")), (Floats{0, 3, 1, 4}));
  EXPECT_EQ(values(state("K\x02K\x02\x86", "K\x00K\x01\x86"s, "K\x04")), (Floats{4, 5, 4, 5}));
  EXPECT_EQ(values(state(")", ")", "K\x05")), (Floats{5}));
  EXPECT_EQ(values(state("ctorch\nSize\nK\x02\x85\x85R", "K\x01\x85")), (Floats{0, 1}));
}

// {"name": object}
std::string holding(const std::string& name, const std::string& object) {
  return "}" + text(name) + object + "s";
}

TEST(TorchLegacy, TensorsAreFoundUnderAnyName) {
  const std::string one = state("K\x02\x85", "K\x01\x85");
  const std::string state_of_module =
      holding("_modules", holding("0", "cmine\nLayer\n)R" + holding("_parameters", one) + "b"));
  const std::vector<std::pair<std::string, const char*>> cases = {
      {holding("odd key", one), "odd key.w"},
      {holding("a", holding("b", one)), "a.b.w"},
      {holding("list", "]" + one + "a"), "list.0.w"},
      {holding("counts",
               "ccollections\ndefaultdict\nc__builtin__\nlist\n\x85R" + text("x") + one + "s"),
       "counts.x.w"},
      {"cmine\nNet\n)\x81" + state_of_module + "b", "0.w"},  // torch.save(model)
      {holding("a", "cmine\nEvil\n" + text("rm") + "\x85R").append(one.substr(1)), "w"}};
  for (const auto& [object, name] : cases) {
    const TensorFile read = parse(legacy(object));
    ASSERT_EQ(read.tensors.size(), 1u) << name;
    EXPECT_EQ(read.tensors[0].name, name);
    EXPECT_EQ(to_float(read.tensors[0]), (std::vector<float>{0, 1})) << name;
  }
}

// As PyTorch saves a tensor with attributes, or of a class derived from Tensor.
TEST(TorchLegacy, TensorsOfAClassOfTheirOwn) {
  const auto typed = [](const std::string& call) {
    return "ctorch._tensor\n_rebuild_from_type_v2\n(ctorch._utils\n" + call + "\ncmine\nTensor\n(" +
           kStorage + "K\x00K\x02\x85K\x01\x85\x89}t}tR"s;
  };
  const std::string tensor = typed("_rebuild_tensor_v2");
  const std::string parameter = "ctorch._utils\n_rebuild_parameter\n(" + tensor + "\x88}tR";
  for (const std::string& object : {tensor, parameter}) {
    const TensorFile read = parse(legacy(holding("w", object)));
    ASSERT_EQ(read.tensors.size(), 1u);
    EXPECT_EQ(read.tensors[0].name, "w");
    EXPECT_EQ(to_float(read.tensors[0]), (std::vector<float>{0, 1}));
  }
  const auto message = message_of<ModelFileError>(
      [&] { parse(legacy(holding("w", typed("_rebuild_sparse_tensor")))); });
  EXPECT_NE(message.find("no tensor under a name"), std::string::npos) << message;
}

// Opcodes that only later protocols have.
TEST(TorchLegacy, LaterProtocols) {
  const auto unicode = [](std::string_view value) {
    return "\x8c"s + static_cast<char>(value.size()) + std::string(value) + "\x94";
  };
  std::string object = "\x95"s + std::string(8, '\0') + "}\x94" + unicode("set") +
                       "\x8f(K\x01\x90s" + unicode("w") + unicode("torch._utils") +
                       unicode("_rebuild_tensor_v2") + "\x93(" + kStorage +
                       "K\x00K\x02\x85K\x01\x85\x89}tRs"s;
  const TensorFile read = parse(legacy(object));
  ASSERT_EQ(read.tensors.size(), 1u);
  EXPECT_EQ(read.tensors[0].name, "w");
}

// A thousand dicts that each hold the next one twice.
TEST(TorchLegacy, SharedDictsAreWalkedOnce) {
  std::string object = state("K\x02\x85", "K\x01\x85");
  for (int i = 0; i < 60; ++i) object = "}" + text("a") + object + "q\x01s" + text("b") + "h\x01s";
  EXPECT_EQ(parse(legacy(object)).tensors.size(), 1u);
}

TEST(TorchLegacy, AFileWithoutTensorsSaysSo) {
  const auto message =
      message_of<ModelFileError>([] { parse(legacy(holding("a", "(" + kStorage + "t"))); });
  EXPECT_NE(message.find("no tensor under a name"), std::string::npos) << message;
}

struct Hostile {
  const char* label;
  std::string file;
  const char* cause;  // must be in the message
};

const std::string kMax = "\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f"s;

const std::vector<Hostile> kBadViews = {
    {"one too many", legacy(state("K\x07\x85", "K\x01\x85")), "reach outside"},
    {"offset one too large", legacy(state("K\x06\x85", "K\x01\x85", "K\x01")), "reach outside"},
    {"scalar behind the end", legacy(state(")", ")", "K\x06")), "reach outside"},
    {"stride too large", legacy(state("K\x03\x85", "K\x03\x85")), "reach outside"},
    {"huge stride", legacy(state("K\x03\x85", kMax + "\x85")), "reach outside"},
    {"huge shape", legacy(state(kMax + kMax + "\x86", "K\x00K\x00\x86"s)), "reach outside"},
    {"expanded", legacy(state("K\x07\x85", "K\x00\x85"s)), "reach outside"},
    {"huge offset", legacy(state("K\x01\x85", "K\x01\x85", kMax)), "reach outside"},
    {"negative offset", legacy(state("K\x01\x85", "K\x01\x85", "J\xff\xff\xff\xff")), "outside"},
    {"negative stride", legacy(state("K\x02\x85", "J\xff\xff\xff\xff\x85")), "no size"},
    {"more strides", legacy(state("K\x02\x85", "K\x01K\x01\x86")), "1 dimensions but 2 strides"},
    {"shape is text", legacy(state(text("x"), "K\x01\x85")), "no tuple"},
    {"65 dimensions", legacy(state("(" + std::string(65, ')') + "t", "K\x01\x85")), "no tuple"}};

// The stream says another count than the pickle.
std::string with_count(std::int64_t count) {
  std::string file = legacy(state("K\x06\x85", "K\x01\x85"));
  std::memcpy(file.data() + file.size() - 6 * sizeof(float) - sizeof(count), &count, sizeof(count));
  return file;
}

std::string two_counts() {
  std::string other = kStorage;
  other[other.find("K\x06") + 1] = 5;
  return legacy("(" + kStorage + other + "t");
}

std::string twice() {
  const std::string tensor = state("K\x02\x85", "K\x01\x85").substr(1);  // without the dict
  return legacy("}" + tensor + tensor);
}

const std::vector<Hostile> kBadPickles = {
    {"no magic", "\x80\x02}.", "magic number"},
    {"protocol 4", "\x80\x04}.", "magic number"},
    {"protocol 6", "\x80\x06}.", "protocol 6"},
    {"other version", kMagic + "\x80\x02K\x01.", "version 1"},
    {"storage behind the end", golden("python2.pth").substr(0, 255), "behind the end"},
    {"other count", with_count(7), "has 7 elements"},
    {"two counts", two_counts(), "two types or sizes"},
    {"tensor twice", twice(), "appears twice"},
    {"big endian", legacy("}", "}" + text("little_endian") + "\x89s"), "big-endian"},
    {"nothing", legacy("}"), "too often"},
    {"protocol 0 instance", legacy("(ios\nsystem\n"), "opcode 0x69"},
    {"extension registry", legacy("\x82\x01"), "opcode 0x82"},
    {"empty stack", legacy("R"), "empty stack"},
    {"below a mark", legacy("}(s"), "empty stack"},
    {"no mark", legacy("t"), "no mark"},
    {"memo", legacy("h\x07"), "memo"},
    {"calls without tuple", legacy("ccollections\nOrderedDict\nK\x01R"), "no tuple"},
    {"two values", legacy("}}"), "stops with 2 values"},
    {"key without value", legacy("}(K\x01u"), "key without a value"},
    {"sets items of a list", legacy("]K\x01K\x01s"), "no dict"},
    {"storage of no type", legacy("(" + text("storage") + "NNNNtQ"), "type, key and size"}};

TEST(TorchLegacy, HostileFilesAreRefusedWithTheCause) {
  for (const auto& table : {kBadViews, kBadPickles}) {
    for (const Hostile& hostile : table) {
      SCOPED_TRACE(hostile.label);
      const auto message = message_of<ModelFileError>([&] { parse(hostile.file); });
      EXPECT_NE(message.find(hostile.cause), std::string::npos) << message;
      EXPECT_TRUE(message.starts_with("model.pth: ")) << message;
      EXPECT_LT(message.size(), 400u);
    }
  }
}

TEST(TorchLegacy, ValuesInCirclesAndDeepValuesEnd) {
  // A list that holds itself, and a million tuples inside each other.
  EXPECT_THROW(parse(legacy("]q\x01h\x01"
                            "a")),
               ModelFileError);
  EXPECT_THROW(parse(legacy(")" + std::string(900'000, '\x85'))), ModelFileError);
  const auto message =
      message_of<ModelFileError>([] { parse(legacy(std::string(1'100'000, ')'))); });
  EXPECT_NE(message.find("operations"), std::string::npos) << message;
}

TEST(TorchLegacy, BytesAfterTheStoragesAreRefused) {
  const auto message = message_of<ModelFileError>([] { parse(golden("legacy.pth") + "x"); });
  EXPECT_NE(message.find("1 bytes after the last storage"), std::string::npos) << message;
}

TEST(TorchLegacy, RealFileEqualsSafetensors) {
  const auto stem = test::data_folder() / "weights/mobilenet_v2_100_torchvision";
  if (!std::filesystem::exists(stem.string() + "_legacy.pth")) {
    GTEST_SKIP() << "no weights folder in the test data; set DFENGINE_DATA";
  }
  const TensorFile read = read_tensor_file(stem.string() + "_legacy.pth");
  expect_same_tensors(read, read_safetensors(stem.string() + ".safetensors"));
}

}  // namespace
}  // namespace dfengine::weights
