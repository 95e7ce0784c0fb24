#include "apps/dfengine/arguments/model.h"

#include <fmt/format.h>

namespace dfengine {

void print_remarks(const std::filesystem::path& file, std::span<const std::string> remarks) {
  for (const std::string& remark : remarks)
    fmt::print(stderr, "dfengine: {}: {}\n", file.string(), remark);
}

Model open_model(const std::filesystem::path& path) {
  Model model = load_model(path);
  print_remarks(path, model.remarks);
  return model;
}

Model open_detector(const std::filesystem::path& path) {
  Model model = load_detector(path);
  print_remarks(path, model.remarks);
  return model;
}

void set_threshold(Model& model, const std::optional<double>& threshold) {
  if (!threshold) return;
  model.threshold = *threshold;
  model.unsure.reset();
}

}  // namespace dfengine
