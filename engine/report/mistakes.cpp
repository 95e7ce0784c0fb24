#include "engine/report/mistakes.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/data/pack.h"
#include "engine/data/pictures/jpeg_encode.h"
#include "engine/data/pictures/resize.h"
#include "engine/report/text.h"

namespace dfengine::report {
namespace {

// [kThumbnail, n kThumbnail, 3] as a JPEG: n pictures beside each other.
std::string side_by_side(const std::vector<Image>& pictures, Resizer& resizer) {
  constexpr auto kRow = static_cast<std::ptrdiff_t>(3 * kThumbnail);
  const Index n = std::ssize(pictures);
  Image one{kThumbnail, kThumbnail, std::vector<std::uint8_t>(kThumbnail * kRow)};
  Image both{kThumbnail, n * kThumbnail,
             std::vector<std::uint8_t>(pictures.size() * one.rgb.size())};
  for (Index i = 0; i < n; ++i) {
    resizer.resize(pictures[static_cast<std::size_t>(i)], kThumbnail, kThumbnail, one.rgb.data());
    for (Index y = 0; y < kThumbnail; ++y)
      std::copy_n(one.rgb.begin() + y * kRow, kRow, both.rgb.begin() + (n * y + i) * kRow);
  }
  constexpr int kQuality = 80;
  std::vector<std::byte> buffer;
  return data_uri("image/jpeg", encode_jpeg(both, kQuality, buffer));
}

}  // namespace

std::vector<Mistake> surest_mistakes(std::span<const double> prob, std::span<const int> label,
                                     double threshold, std::size_t most) {
  std::vector<Mistake> surest;
  for (int truth : {0, 1}) {
    std::vector<Mistake> wrong;
    for (std::size_t i = 0; i < prob.size(); ++i)
      if (label[i] == truth && (prob[i] >= threshold) != (truth == 1))
        wrong.push_back({i, prob[i], truth});
    std::ranges::stable_sort(wrong, [&](const Mistake& a, const Mistake& b) {
      return truth == 0 ? a.prob > b.prob : a.prob < b.prob;
    });
    wrong.resize(std::min(wrong.size(), most));
    surest.insert(surest.end(), wrong.begin(), wrong.end());
  }
  return surest;
}

std::vector<Picture> mistake_pictures(const std::vector<Mistake>& mistakes, const Dataset& dataset,
                                      const Model& model, GradCam* cam) {
  const Index size = model.config.input_size;
  Image seen{size, size, std::vector<std::uint8_t>(static_cast<std::size_t>(size * size * 3))};
  Preparer preparer(model.preparation());
  Resizer resizer;
  std::vector<Picture> pictures;
  for (const Mistake& m : mistakes) {
    const Sample& sample = dataset.samples[m.sample];
    prepare_sample(dataset, sample, preparer, seen.rgb.data());
    const bool called_fake = m.label == 0;
    std::vector<Image> shown = {seen};
    if (cam != nullptr) {
      const GradCamRun run = cam->run(seen.rgb.data());
      shown.push_back(overlay(seen, run.evidence(called_fake ? Evidence::Fake : Evidence::Real)));
    }
    const std::string verdict = called_fake ? "Real, called fake" : "Fake, called real";
    pictures.push_back(
        {side_by_side(shown, resizer),
         verdict + ": " + sample.relative,
         {verdict, fmt::format("probability of fake {:.3f}", m.prob), sample.relative},
         called_fake ? Ink::Real : Ink::Fake});
  }
  return pictures;
}

}  // namespace dfengine::report
