#include "engine/data/pictures/contact_sheet.h"

#include <fmt/format.h>

#include <cstring>

#include "engine/data/pack.h"
#include "kernels/base/error.h"

namespace dfengine {
namespace {

constexpr Index kGap = 4;

}  // namespace

Image contact_sheet(const Dataset& dataset, const LoaderOptions& how, Index variants) {
  const Index rows = std::ssize(dataset.samples), columns = variants + 1, step = how.size + kGap;
  if (rows < 1 || variants < 1) throw UsageError("a contact sheet needs pictures and variants");
  if (rows > kMaxImagePixels / step / step / columns) {
    throw UsageError(
        fmt::format("{} pictures of {} variants are too many for one sheet", rows, variants));
  }
  Image sheet{rows * step + kGap, columns * step + kGap, {}};
  sheet.rgb.assign(static_cast<std::size_t>(sheet.h * sheet.w * 3), 255);
  Preparer preparer(how);
  Augmenter augmenter(how.resize);
  const auto bytes = static_cast<std::size_t>(how.size * how.size * 3);
  std::vector<std::uint8_t> prepared(bytes), shown(bytes);
  for (Index row = 0; row < rows; ++row) {
    prepare_sample(dataset, dataset.samples[at(row)], preparer, prepared.data());
    for (Index column = 0; column < columns; ++column) {
      shown = prepared;
      if (column > 0) {
        const auto epoch = static_cast<std::uint64_t>(column - 1);
        const auto index = static_cast<std::uint32_t>(row);
        augmenter.apply(draw_augmentation(how.augment, how.size, how.seed, epoch, index),
                        shown.data(), how.size);
      }
      for (Index y = 0; y < how.size; ++y) {
        const Index to = (row * step + kGap + y) * sheet.w + column * step + kGap;
        std::memcpy(sheet.rgb.data() + 3 * to, shown.data() + y * how.size * 3,
                    static_cast<std::size_t>(how.size * 3));
      }
    }
  }
  return sheet;
}

}  // namespace dfengine
