// dfengine augment: a contact sheet of what training would make of pictures.
#include <fmt/format.h>

#include "apps/dfengine/arguments/common.h"
#include "apps/dfengine/arguments/help.h"
#include "apps/dfengine/arguments/outputs.h"
#include "apps/dfengine/arguments/pictures.h"
#include "apps/dfengine/arguments/settings.h"
#include "apps/dfengine/arguments/within.h"
#include "apps/dfengine/commands.h"
#include "engine/data/pictures/contact_sheet.h"
#include "engine/data/pictures/png_encode.h"
#include "engine/train/options.h"
#include "kernels/base/atomic_file.h"

namespace dfengine {
namespace {

struct Arguments {
  std::filesystem::path preview;
  std::vector<std::filesystem::path> paths;
  LoaderOptions how;
  Index rows = 8, variants = 7;
  const CLI::App* command = nullptr;
};

void run_augment(const Arguments& a) {
  a.how.augment.validate();
  require_partners(*a.command, augment_options(), a.how.augment);
  const std::vector<std::filesystem::path> pictures = list_pictures(a.paths);
  check_output(a.preview, pictures, ".png");
  Dataset dataset;
  for (const auto& file : evenly_spaced(pictures, at(a.rows)))
    dataset.samples.push_back({file.string()});
  const Image sheet = contact_sheet(dataset, a.how, a.variants);
  write_file_atomic(a.preview, encode_png(sheet));
  fmt::print("{}: {} pictures, each as it is and {} times augmented ({})\n", a.preview.string(),
             dataset.samples.size(), a.variants, describe(a.how.augment));
}

}  // namespace

void add_augment(CLI::App& program) {
  const auto [command, a] = add_command<Arguments>(
      program, "augment", "Draw what train's augmentation makes of pictures, as one PNG.",
      "Each row shows a picture as it is prepared and then its augmented versions, as train "
      "with the same options would see them. Everything acts on the prepared square picture.",
      run_augment);
  a.command = &command;
  command.add_option("--preview", a.preview, "PNG file to write.")->required();
  command.add_option("--data", a.paths, "Pictures, or folders of them.")->required();
  command.add_option("--rows", a.rows, "Pictures shown, from 1 to 1000, spread over --data.")
      ->check(within(Index{1}, Index{1000}))
      ->capture_default_str();
  command.add_option("--variants", a.variants, "Augmented versions of each, from 1 to 1000.")
      ->check(within(Index{1}, Index{1000}))
      ->capture_default_str();
  command.add_option("--img-size", a.how.size, "The side in pixels, from 8 to 1024.")
      ->check(within(Index{8}, Index{1024}))
      ->capture_default_str();
  command.add_option("--seed", a.how.seed, "The seed, as train's.")->capture_default_str();
  add_resize(command, a.how.resize, a.how.crop);
  add_max_pixels(command, a.how.max_pixels);
  a.how.augment = recipe("finetune").augment;
  add_augment(command, a.how.augment);
}

}  // namespace dfengine
