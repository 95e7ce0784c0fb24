#include "apps/dfengine/arguments/pictures.h"

#include "apps/dfengine/arguments/settings.h"
#include "apps/dfengine/arguments/within.h"

namespace dfengine {
namespace {

// As train has it.
template <class T>
CLI::Option* add_as_train(CLI::App& command, const char* flag, T& value) {
  return add_option(command, row_of(train_options(), flag), value);
}

}  // namespace

CLI::Option* add_max_pixels(CLI::App& command, Index& max_pixels) {
  return add_as_train(command, "--max-pixels", max_pixels)
      ->check(within(Index{1}, Index{1} << 30))
      ->capture_default_str();
}

void add_resize(CLI::App& command, ResizeRule& resize, Crop& crop) {
  add_as_train(command, "--resize", resize);
  add_as_train(command, "--crop", crop);
}

void add_resize(CLI::App& command, std::optional<ResizeRule>& resize, std::optional<Crop>& crop) {
  add_as_train(command, "--resize", resize)->default_str("the model's own");
  add_as_train(command, "--crop", crop)->default_str("the model's own");
}

void add_augment(CLI::App& command, AugmentOptions& options) {
  for (CLI::Option* option : add_rows(command, augment_options(), options))
    option->group("Augmentation");
}

}  // namespace dfengine
