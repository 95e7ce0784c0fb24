#include "apps/dfengine/arguments/pictures.h"

#include <string_view>

namespace dfengine {
namespace {

// What train says of the same option.
const char* help_of(std::string_view flag) {
  for (const TrainOption& row : train_options())
    if (row.flag == flag) return row.help;
  return "";
}

}  // namespace

CLI::Option* add_max_pixels(CLI::App& command, Index& max_pixels) {
  return command
      .add_option("--max-pixels", max_pixels,
                  help_of("--max-pixels") + std::string(" Allowed: from 1 to 2^30."))
      ->check(CLI::Range(Index{1}, Index{1} << 30))
      ->capture_default_str();
}

void add_resize(CLI::App& command, ResizeRule& resize, Crop& crop) {
  add_choice(command, "--resize", resize, help_of("--resize"));
  add_choice(command, "--crop", crop, help_of("--crop"));
}

void add_resize(CLI::App& command, std::optional<ResizeRule>& resize, std::optional<Crop>& crop) {
  add_choice(command, "--resize", resize, help_of("--resize"))->default_str("the model's own");
  add_choice(command, "--crop", crop, help_of("--crop"))->default_str("the model's own");
}

void AugmentArguments::add_to(CLI::App& command, const AugmentOptions& usual) {
  usual_ = usual;
  for (CLI::Option* option : given_.add_to(command, augment_options(), usual))
    option->group("Augmentation");
}

AugmentOptions AugmentArguments::values() const {
  AugmentOptions options = usual_;
  given_.put_over(options);
  options.validate();
  return options;
}

}  // namespace dfengine
