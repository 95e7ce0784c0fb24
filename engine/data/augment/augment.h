// Random changes of training pictures. They are drawn from (seed, epoch, index) alone, so that the
// number of threads does not matter.
#pragma once

#include <array>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <vector>

#include "engine/data/augment/perturb.h"
#include "engine/data/option_row.h"
#include "engine/data/pictures/resize.h"

namespace dfengine {

struct Range {
  double low = 0;
  double high = 0;
  bool operator==(const Range&) const = default;
};

// Every change is off until it is asked for. All of them work on the prepared square picture, so
// that a picture from a cache and one from its file give the same bits.
struct AugmentOptions {
  bool hflip = false;                       // mirror half of the pictures
  bool vflip = false;                       // turn half of them upside down
  bool rot90 = false;                       // turn by 0, 90, 180 or 270 degrees
  Range scale = {1, 1};                     // random crop: part of the area kept; 1, 1 is off
  Range ratio = {3.0 / 4, 4.0 / 3};         // the crop's width to height
  std::array<double, 4> color_jitter = {};  // brightness, contrast, saturation, hue
  double downscale_prob = 0;
  Range downscale = {0.5, 1};  // factor of a resize there and back
  double blur_prob = 0;
  Range blur_sigma = {0, 3};  // in pixels
  double jpeg_prob = 0;
  Range jpeg_quality = {30, 100};
  double webp_prob = 0;
  Range webp_quality = {30, 100};
  double patch_mask = 0;             // the chance that squares are blanked
  double erase_prob = 0;             // random erasing (cutout)
  Range erase_scale = {0.02, 0.33};  // part of the area
  Range erase_ratio = {0.3, 3.3};

  // Whether any picture may change in another way than by mirroring.
  bool beyond_mirror() const;
  // Throws UsageError naming the option and its range.
  void validate() const;
  bool operator==(const AugmentOptions&) const = default;
};

// Every field of AugmentOptions.
using AugmentOption = OptionRow<AugmentOptions, bool, double, Range, std::array<double, 4>>;
std::span<const AugmentOption> augment_options();

// Round trip; reading throws nlohmann::json::exception when a field is absent or of another type.
void to_json(nlohmann::json& json, const Range& range);
void from_json(const nlohmann::json& json, Range& range);
void to_json(nlohmann::json& json, const AugmentOptions& options);
void from_json(const nlohmann::json& json, AugmentOptions& options);

// Text for people, such as "hflip, color jitter 0.4 0.4 0.4 0, JPEG 30-100 (p 0.5)" or "none".
std::string describe(const AugmentOptions& options);

// What happens to one picture.
struct Augmentation {
  CropWindow crop;  // this part is resized to the whole; h = 0 stands for no crop
  bool mirrored = false;
  bool upside_down = false;
  int quarter_turns = 0;  // counterclockwise
  // Brightness, contrast, saturation and hue, applied in `order`. 1, 1, 1, 0 change nothing.
  std::array<double, 4> color = {1, 1, 1, 0};
  std::array<int, 4> order = {0, 1, 2, 3};
  double downscale = 1;
  double blur_sigma = 0;
  int jpeg_quality = 0;  // 0 stands for no compression
  int webp_quality = 0;
  std::vector<std::uint32_t> masked;  // squares of kMaskPatch, counted by rows
  CropWindow erased;                  // h = 0 stands for no erased part
};

// The side of the squares that --patch-mask blanks, and the greatest part of all of them.
inline constexpr Index kMaskPatch = 16;
inline constexpr double kMostMasked = 0.75;

// The crop and the erased part are drawn as torchvision's RandomResizedCrop and RandomErasing draw
// them, the colours as by its ColorJitter, blur and JPEG as by CNNDetection, the masked squares as
// by SAFE's RandomMask (Li et al. 2024). Each kind has its own random numbers: switching one on
// does not change what another draws.
Augmentation draw_augmentation(const AugmentOptions& options, Index size, std::uint64_t seed,
                               std::uint64_t epoch, std::uint32_t index);

// Where Crop::Random cuts size x size from a picture of h x w in training: any place inside of it;
// a side that is smaller lies anywhere inside the window.
CropWindow draw_window(Index h, Index w, Index size, std::uint64_t seed, std::uint64_t epoch,
                       std::uint32_t index);

// Applies drawn changes in the order of Augmentation's fields. What is masked or erased becomes
// ImageNet's mean colour. Every thread needs one of its own, because it holds buffers.
class Augmenter {
 public:
  explicit Augmenter(ResizeRule rule = ResizeRule::Bilinear) : resizer_(rule) {}
  // image [size, size, 3] is changed in place.
  void apply(const Augmentation& what, std::uint8_t* image, Index size);

 private:
  Resizer resizer_;
  PerturbScratch scratch_;
  std::vector<std::uint8_t> square_;
};

}  // namespace dfengine
