// Calls that make no sense and bytes that mean harm: each gets a status and a message, and nothing
// is printed or thrown.
#include <cstring>
#include <random>
#include <thread>

#include "engine/interface/handles.h"
#include "kernels/cuda/context.h"
#include "tests/engine/interface/interface_support.h"

namespace dfengine {
namespace {

using test::options_with;

class Misuse : public test::Interface {
 protected:
  void SetUp() override {
    Interface::SetUp();
    testing::internal::CaptureStdout();
    testing::internal::CaptureStderr();
    opened_.emplace(model_);
    session_.emplace(*opened_, options_with(1, 4));
  }
  void TearDown() override {
    EXPECT_EQ(testing::internal::GetCapturedStdout(), "");
    EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
  }

  // The status, where the message holds this.
  static void expect(df_status got, df_status status, const std::string& message) {
    EXPECT_EQ(got, status);
    EXPECT_NE(std::string(df_last_error()).find(message), std::string::npos) << df_last_error();
  }
  df_status classify(const df_picture* pictures, std::size_t count, std::uint32_t extras = 0) {
    df_results* results = reinterpret_cast<df_results*>(1);
    const df_status status = df_classify(session_->handle(), pictures, count, extras, &results);
    if (status != DF_OK) {
      EXPECT_EQ(results, nullptr);
    }
    df_results_free(&results);
    return status;
  }
  df_status open_with(const df_session_options& options) {
    df_session* session = nullptr;
    const df_status status = df_session_open(opened_->handle(), &options, &session);
    df_session_close(&session);
    return status;
  }

  std::optional<df::Model> opened_;
  std::optional<df::Session> session_;
};

TEST_F(Misuse, NullIsNamed) {
  df_model* model = nullptr;
  df_session* session = nullptr;
  df_results* results = nullptr;
  auto info = df::sized<df_model_info>();
  const df_picture picture = df::file(files_[0].c_str());
  expect(df_model_open(nullptr, &model), DF_USAGE, "path is NULL");
  expect(df_model_open(model_.c_str(), nullptr), DF_USAGE, "model is NULL");
  expect(df_model_open_bytes(nullptr, 5, &model), DF_USAGE, "bytes is NULL");
  expect(df_model_get_info(nullptr, &info), DF_USAGE, "model is NULL");
  expect(df_model_get_info(opened_->handle(), nullptr), DF_USAGE, "df_model_info is NULL");
  expect(df_session_open(nullptr, nullptr, &session), DF_USAGE, "model is NULL");
  expect(df_session_open(opened_->handle(), nullptr, nullptr), DF_USAGE, "session is NULL");
  expect(df_classify(nullptr, &picture, 1, 0, &results), DF_USAGE, "session is NULL");
  expect(df_classify(session_->handle(), &picture, 1, 0, nullptr), DF_USAGE, "results is NULL");
  expect(classify(nullptr, 1), DF_USAGE, "df_picture is NULL");
  expect(df_selftest(nullptr), DF_USAGE, "session is NULL");
  expect(df_session_device(session_->handle(), nullptr), DF_USAGE, "device is NULL");
  EXPECT_EQ(df_results_count(nullptr), 0u);
  EXPECT_EQ(df_results_get(nullptr, 0), nullptr);
  df_model_close(nullptr);
  df_session_close(nullptr);
  df_results_free(nullptr);
}

TEST_F(Misuse, AClosedHandleIsNull) {
  df_model* model = nullptr;
  ASSERT_EQ(df_model_open(model_.c_str(), &model), DF_OK);
  df_session* session = nullptr;
  ASSERT_EQ(df_session_open(model, nullptr, &session), DF_OK);
  df_model_close(&model);
  EXPECT_EQ(model, nullptr);
  df_model_close(&model);
  expect(df_session_open(model, nullptr, &session), DF_USAGE, "model is NULL");
  df_session_close(&session);
  df_session_close(&session);
  expect(df_selftest(session), DF_USAGE, "session is NULL");
}

TEST_F(Misuse, StructSizesAreChecked) {
  auto options = df::sized<df_session_options>();
  for (const std::size_t size :
       {std::size_t{0}, std::size_t{8}, sizeof options - 1, ~std::size_t{0}}) {
    options.struct_size = size;
    expect(open_with(options), DF_USAGE, "df_session_options.struct_size");
  }
  df_picture picture = df::file(files_[0].c_str());
  picture.struct_size = 4;
  expect(classify(&picture, 1), DF_USAGE, "df_picture.struct_size");
  std::vector<df_picture> two = as_files();
  two[1].struct_size += 8;
  expect(classify(two.data(), 2), DF_USAGE, "another struct_size");
  auto info = df::sized<df_model_info>();
  info.struct_size = 0;
  expect(df_model_get_info(opened_->handle(), &info), DF_USAGE, "df_model_info.struct_size");
}

// A caller compiled against a header with more fields.
TEST_F(Misuse, NewerStructsAreTakenWhereTheirNewFieldsAreNotUsed) {
  struct NewerOptions {
    df_session_options known;
    std::int64_t more;
  } options = {df::sized<df_session_options>(), 0};
  options.known.struct_size = sizeof options;
  EXPECT_EQ(open_with(options.known), DF_OK) << df_last_error();
  options.more = 1;
  expect(open_with(options.known), DF_USAGE, "link a newer one");
  struct NewerPicture {
    df_picture known;
    std::int64_t more;
  };
  std::vector<NewerPicture> pictures;
  for (const df_picture& p : as_files()) {
    pictures.push_back({p, 0});
    pictures.back().known.struct_size = sizeof(NewerPicture);
  }
  EXPECT_EQ(classify(&pictures[0].known, pictures.size()), DF_OK) << df_last_error();
  struct NewerInfo {
    df_model_info known;
    std::int64_t more;
  } info = {df::sized<df_model_info>(), 7};
  info.known.struct_size = sizeof info;
  EXPECT_EQ(df_model_get_info(opened_->handle(), &info.known), DF_OK);
  EXPECT_EQ(info.known.input_size, kSide);
  EXPECT_EQ(info.more, 0);
}

TEST_F(Misuse, OptionsHaveRanges) {
  const auto with = [](auto df_session_options::*field, auto value) {
    auto options = df::sized<df_session_options>();
    options.*field = value;
    return options;
  };
  expect(open_with(with(&df_session_options::threads, -1)), DF_USAGE, "threads is -1");
  expect(open_with(with(&df_session_options::threads, 1 << 20)), DF_USAGE, "threads");
  expect(open_with(with(&df_session_options::device, 9)), DF_USAGE, "device is 9");
  expect(open_with(with(&df_session_options::precision, -2)), DF_USAGE, "precision is -2");
  expect(open_with(with(&df_session_options::batch, -5)), DF_USAGE, "batch is -5");
  expect(open_with(with(&df_session_options::max_pixels, -1)), DF_USAGE, "max_pixels");
  expect(open_with(with(&df_session_options::threshold, 1.5)), DF_USAGE, "threshold");
  expect(open_with(with(&df_session_options::threshold, std::nan(""))), DF_USAGE, "threshold");
  const df_picture picture = df::file(files_[0].c_str());
  expect(classify(&picture, 1, 4), DF_USAGE, "extras is 4");
  if (!cuda::available() && !cuda::is_emulated()) {
    EXPECT_EQ(open_with(with(&df_session_options::device, static_cast<int>(DF_CUDA))),
              DF_NO_DEVICE);
  }
}

TEST_F(Misuse, PicturesAreOneThing) {
  df_picture picture = df::file(files_[0].c_str());
  picture.bytes = "x";
  expect(classify(&picture, 1), DF_USAGE, "2 of path, bytes and rgb");
  picture = df::sized<df_picture>();
  expect(classify(&picture, 1), DF_USAGE, "0 of path, bytes and rgb");
  EXPECT_EQ(classify(nullptr, 0), DF_OK);
}

TEST_F(Misuse, PixelsAreMeasuredBeforeTheyAreRead) {
  const std::uint8_t one[3] = {1, 2, 3};
  const Index huge = Index{1} << 40;
  const std::vector<df_picture> pictures = {
      df::pixels(one, 0, 1),     df::pixels(one, -1, 1),        df::pixels(one, 1, huge),
      df::pixels(one, huge, 1),  df::pixels(one, 65535, 65535), df::pixels(one, 1, 1, 2),
      df::pixels(one, 1, 1, -3), df::encoded(one, 0),           df::encoded(one, 3)};
  const df::Results results = session_->classify(pictures);
  for (std::size_t i = 0; i < results.size(); ++i) {
    EXPECT_NE(results[i].status, DF_OK) << i;
    EXPECT_STRNE(results[i].error, "") << i;
    // No option of the program: who calls the library has none.
    EXPECT_EQ(std::string(results[i].error).find("--"), std::string::npos) << results[i].error;
  }
  EXPECT_NE(std::string(results[0].error).find("1 x 0 pixels are no picture"), std::string::npos);
  const df::Results sound = session_->classify({df::pixels(one, 1, 1)});
  EXPECT_EQ(sound[0].status, DF_OK) << sound[0].error;
}

TEST_F(Misuse, ASecondThreadIsToldThatTheSessionIsBusy) {
  session_->handle()->taken = true;
  const df_picture picture = df::file(files_[0].c_str());
  expect(classify(&picture, 1), DF_BUSY, "a session of its own");
  expect(df_selftest(session_->handle()), DF_BUSY, "a session of its own");
  session_->handle()->taken = false;
  EXPECT_EQ(classify(&picture, 1), DF_OK);
}

// The C++ header takes strings, which may hold what ends a path.
TEST_F(Misuse, APathEndsWhereItsStringDoes) {
  EXPECT_THROW(df::Model(model_ + std::string("\0.txt", 5)), df::Error);
}

TEST_F(Misuse, ErrorsAreOfTheirThread) {
  df_model* model = nullptr;
  expect(df_model_open("nowhere.safetensors", &model), DF_BAD_MODEL, "nowhere.safetensors");
  std::string elsewhere = "not asked";
  std::thread([&] { elsewhere = df_last_error(); }).join();
  EXPECT_EQ(elsewhere, "");
  EXPECT_NE(std::string(df_last_error()), "");
}

TEST_F(Misuse, OnlyDetectorsAreModels) {
  df_model* model = nullptr;
  expect(df_model_open(files_[0].c_str(), &model), DF_BAD_MODEL, "JPEG");
  expect(df_model_open("imagenet", &model), DF_BAD_MODEL, "downloads nothing");
  expect(df_model_open_bytes("", 0, &model), DF_BAD_MODEL, "empty");
  Model classifier = make_model({.width = 0.1, .input_size = 96, .head = Head::Classifier}, 1);
  classifier.classes.clear();
  const std::string path = (folder_.path() / "classifier.safetensors").string();
  save_model(path, classifier);
  expect(df_model_open(path.c_str(), &model), DF_BAD_MODEL, "not a detector");
  EXPECT_EQ(model, nullptr);
}

// Cut, bytes changed, bytes inserted.
std::vector<std::byte> damaged(std::vector<std::byte> bytes, std::mt19937& random) {
  const std::size_t most = std::min<std::size_t>(bytes.size(), 4096);
  const auto draw = [&](std::size_t below) { return random() % below; };
  switch (draw(3)) {
    case 0:
      bytes.resize(draw(bytes.size()));
      break;
    case 1:
      for (std::size_t i = 0; i < 1 + draw(8); ++i) bytes[draw(most)] = std::byte(random());
      break;
    default:
      bytes.insert(bytes.begin() + static_cast<std::ptrdiff_t>(draw(most)), 1 + draw(16),
                   std::byte(random()));
  }
  return bytes;
}

TEST_F(Misuse, HostileBytesGetAStatus) {
  std::mt19937 random(5);
  const std::vector<std::byte> model = weights::read_file(model_),
                               picture = weights::read_file(files_[1]);
  int refused = 0;
  for (int i = 0; i < 150; ++i) {
    const auto bytes = damaged(model, random);
    df_model* opened = nullptr;
    const df_status status = df_model_open_bytes(bytes.data(), bytes.size(), &opened);
    if (status != DF_OK) {
      EXPECT_EQ(status, DF_BAD_MODEL) << df_last_error();
      EXPECT_STRNE(df_last_error(), "");
      ++refused;
    }
    df_model_close(&opened);
  }
  EXPECT_GT(refused, 100);
  refused = 0;
  for (int i = 0; i < 300; ++i) {
    const auto bytes = damaged(picture, random);
    const df::Results results = session_->classify({df::encoded(bytes.data(), bytes.size())});
    if (results[0].status == DF_OK) continue;
    EXPECT_EQ(results[0].status, DF_BAD_DATA) << results[0].error;
    EXPECT_STRNE(results[0].error, "");
    ++refused;
  }
  EXPECT_GT(refused, 100);
}

TEST(Interface, NamesItself) {
  EXPECT_EQ(std::ranges::count(std::string(df_version()), '.'), 2);
  EXPECT_EQ(df_abi_version(), DF_ABI_VERSION);
  EXPECT_STREQ(df_status_name(DF_BAD_MODEL), "DF_BAD_MODEL");
  EXPECT_STREQ(df_status_name(99), "unknown");
}

}  // namespace
}  // namespace dfengine
