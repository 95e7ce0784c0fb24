#include "engine/interface/errors.h"
#include "engine/interface/handles.h"
#include "engine/interface/structs.h"
#include "weights/pretrained.h"

namespace dfengine::interface {
namespace {

constexpr std::size_t kFirstInfo = sizeof(df_model_info);

// Calls open() and gives what it makes, or NULL.
template <class Open>
df_status open_model(df_model** to, const Open& open) noexcept {
  return guarded([&] {
    *required(to, "model") = nullptr;
    *to = new df_model{std::make_shared<const Model>(open())};
  });
}

// No name stands for a download here.
Model open_file(const std::filesystem::path& path) {
  if (path == weights::kImagenet)
    throw ModelFileError("imagenet: is no detector, and this interface downloads nothing");
  return load_detector(path);
}

df_model_info info_of(const Model& model) {
  df_model_info info = {};
  info.architecture = model.config.architecture.c_str();
  info.classes[0] = model.classes[0].c_str();
  info.classes[1] = model.classes[1].c_str();
  info.threshold = model.threshold;
  info.temperature = model.temperature;
  info.input_size = model.config.input_size;
  info.features = model.config.members > 1 ? 0 : model.network.features;
  return info;
}

}  // namespace
}  // namespace dfengine::interface

using namespace dfengine::interface;

df_status df_model_open(const char* path, df_model** model) {
  return open_model(model, [&] { return open_file(required(path, "path")); });
}

df_status df_model_open_bytes(const void* bytes, size_t size, df_model** model) {
  return open_model(model, [&] {
    const auto* first = static_cast<const std::byte*>(required(bytes, "bytes"));
    return dfengine::parse_detector({first, size}, "the model in memory");
  });
}

void df_model_close(df_model** model) {
  if (model == nullptr) return;
  delete *model;
  *model = nullptr;
}

df_status df_model_get_info(const df_model* model, df_model_info* info) {
  return guarded([&] {
    write_struct(info, kFirstInfo, "df_model_info", info_of(*required(model, "model")->model));
  });
}
