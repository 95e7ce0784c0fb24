#include <cmath>
#include <limits>

#include "engine/data/pictures/decode_checks.h"
#include "engine/interface/errors.h"
#include "engine/interface/handles.h"
#include "engine/interface/structs.h"

namespace dfengine::interface {
namespace {

constexpr std::size_t kFirstPicture = sizeof(df_picture);

// The caller's pictures, checked one by one. Their structs lie as far apart as the caller's header
// says.
std::vector<df_picture> read_pictures(const df_picture* given, std::size_t count) {
  std::vector<df_picture> all;
  if (count == 0) return all;
  const std::size_t stride = checked_size(given, kFirstPicture, "df_picture");
  all.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    const auto* at = reinterpret_cast<const df_picture*>(
        reinterpret_cast<const unsigned char*>(given) + i * stride);
    if (at->struct_size != stride)
      throw UsageError(fmt::format("picture {} has another struct_size than the first", i));
    const df_picture picture = read_struct(at, kFirstPicture, "df_picture");
    const int sources =
        (picture.path != nullptr) + (picture.bytes != nullptr) + (picture.rgb != nullptr);
    if (sources != 1)
      throw UsageError(
          fmt::format("picture {}: {} of path, bytes and rgb are given, not one", i, sources));
    all.push_back(picture);
  }
  return all;
}

class Classification {
 public:
  Classification(df_session& session, const std::vector<df_picture>& pictures, bool features,
                 bool heat_map)
      : s_(session),
        pictures_(pictures),
        features_(features),
        heat_map_(heat_map),
        size_(s_.model->config.input_size),
        out_(std::make_unique<df_results>()) {
    if (features_ && !s_.features)
      s_.features.emplace(*s_.model, *s_.backend, Predictor::Output::Pooled);
    if (heat_map_ && !s_.heat_maps) s_.heat_maps.emplace(*s_.model, s_.cpu.emplace(s_.pool));
  }

  std::unique_ptr<df_results> run() {
    out_->model = s_.model;
    out_->all.resize(pictures_.size());
    const auto most = std::min(pictures_.size(), at(s_.batch));
    pixels_.resize(most * square_bytes());
    for (std::size_t first = 0; first < pictures_.size(); first += most)
      run_batch(first, std::min(most, pictures_.size() - first));
    return std::move(out_);
  }

 private:
  std::size_t square_bytes() const { return at(size_ * size_ * 3); }

  // Why a picture has no answer.
  struct Refusal {
    df_status status = DF_OK;
    std::string message;
  };

  void run_batch(std::size_t first, std::size_t count) {
    std::vector<Refusal> refusals(count);
    parallel_for(s_.pool, std::ssize(refusals), [&](std::int64_t i, int worker) {
      prepare(first + at(i), worker, pixels_.data() + at(i) * square_bytes(), refusals[at(i)]);
    });
    // Those that could be read move up.
    std::vector<std::size_t> which;
    for (std::size_t i = 0; i < count; ++i) {
      if (refusals[i].status != DF_OK) {
        refuse(first + i, refusals[i]);
        continue;
      }
      if (which.size() < i)
        std::copy_n(pixels_.data() + i * square_bytes(), square_bytes(),
                    pixels_.data() + which.size() * square_bytes());
      which.push_back(first + i);
    }
    if (!which.empty()) compute(which);
  }

  // A picture that cannot be read keeps no other from its answer.
  void prepare(std::size_t i, int worker, std::uint8_t* out, Refusal& refusal) noexcept {
    try {
      Preparer& preparer = s_.preparers[at(worker)];
      const df_picture& picture = pictures_[i];
      if (picture.rgb != nullptr) {
        preparer.resize(rows_of(picture, i, worker), s_.model->crop, Views::One, out);
      } else if (picture.path != nullptr) {
        preparer.prepare(picture.path, out);
      } else {
        const auto* bytes = static_cast<const std::byte*>(picture.bytes);
        preparer.resize(preparer.decode({bytes, picture.size}, name_of(i)), s_.model->crop,
                        Views::One, out);
      }
    } catch (...) {
      const Failure failure = current_failure();
      refusal.status = failure.status;
      try {
        refusal.message = failure.message;
      } catch (...) {
        refusal.status = DF_NO_MEMORY;
      }
    }
  }

  static std::string name_of(std::size_t i) { return fmt::format("picture {}", i); }

  // Without gaps between the rows.
  ImageView rows_of(const df_picture& picture, std::size_t i, int worker) {
    const Index h = picture.height, w = picture.width;
    check_image_size(h, w, s_.max_pixels, name_of(i));
    const Index row = 3 * w, step = picture.row_bytes == 0 ? row : picture.row_bytes;
    if (step < row)
      throw UsageError(
          fmt::format("{}: row_bytes is {}, and {} pixels take {}", name_of(i), step, w, row));
    if (step == row) return {picture.rgb, h, w};
    Image& copy = s_.rows[at(worker)];
    copy.h = h;
    copy.w = w;
    copy.rgb.resize(at(h * row));
    for (Index y = 0; y < h; ++y)
      std::copy_n(picture.rgb + y * step, row, copy.rgb.data() + y * row);
    return copy;
  }

  void refuse(std::size_t i, Refusal& refusal) {
    df_result& result = blank(i);
    result.status = refusal.status;
    result.error = refusal.message.empty()  // there was no memory for it
                       ? kNoMemory
                       : out_->errors.emplace_back(std::move(refusal.message)).c_str();
    result.probability = result.logit = std::numeric_limits<double>::quiet_NaN();
    result.fake = -1;
  }

  df_result& blank(std::size_t i) {
    df_result& result = out_->all[i];
    result.struct_size = sizeof(df_result);
    result.error = result.verdict = "";
    result.threshold = s_.threshold;
    return result;
  }

  void compute(const std::vector<std::size_t>& which) {
    std::vector<float> logits(which.size());
    s_.logits.run(pixels_.data(), std::ssize(which), logits.data());
    for (std::size_t k = 0; k < which.size(); ++k) answer(blank(which[k]), logits[k]);
    if (features_) add_features(which);
    if (!heat_map_) return;
    for (std::size_t k = 0; k < which.size(); ++k)
      add_heat_map(out_->all[which[k]], pixels_.data() + k * square_bytes());
  }

  void answer(df_result& result, float logit) const {
    const double prob = s_.model->probability(logit);
    if (std::isnan(prob))
      throw ModelFileError("the model's output is not a number: its weights are damaged");
    result.logit = logit;
    result.probability = prob;
    result.fake = prob >= s_.threshold ? 1 : 0;
    result.verdict = s_.model->classes[at(result.fake)].c_str();
    const std::optional<UnsureBand>& band = s_.model->unsure;
    result.unsure = band && s_.threshold == s_.model->threshold && band->holds(prob) ? 1 : 0;
  }

  void add_features(const std::vector<std::size_t>& which) {
    const auto width = at(s_.features->width());
    std::vector<float>& rows = out_->values.emplace_back(which.size() * width);
    s_.features->run(pixels_.data(), std::ssize(which), rows.data());
    for (std::size_t k = 0; k < which.size(); ++k) {
      out_->all[which[k]].features = rows.data() + k * width;
      out_->all[which[k]].feature_count = static_cast<std::int64_t>(width);
    }
  }

  void add_heat_map(df_result& result, const std::uint8_t* square) {
    const GradCamRun run = s_.heat_maps->run(square);
    EvidenceMap map = run.evidence(result.fake == 1 ? Evidence::Fake : Evidence::Real);
    result.heat_map_rows = map.h;
    result.heat_map_columns = map.w;
    result.heat_map = out_->values.emplace_back(std::move(map.values)).data();
  }

  df_session& s_;
  const std::vector<df_picture>& pictures_;
  bool features_, heat_map_;
  Index size_;
  std::unique_ptr<df_results> out_;
  std::vector<std::uint8_t> pixels_;
};

}  // namespace
}  // namespace dfengine::interface

using namespace dfengine::interface;

df_status df_classify(df_session* session, const df_picture* pictures, size_t count,
                      uint32_t extras, df_results** results) {
  return guarded([&] {
    *required(results, "results") = nullptr;
    df_session& s = *required(session, "session");
    if (extras > (DF_FEATURES | DF_HEAT_MAP))
      throw dfengine::UsageError(
          fmt::format("extras is {}: a sum of DF_FEATURES and DF_HEAT_MAP", extras));
    const std::vector<df_picture> checked = read_pictures(pictures, count);
    const OneAtATime here(s.taken);
    s.backend->on_this_thread([&] {
      *results =
          Classification(s, checked, (extras & DF_FEATURES) != 0, (extras & DF_HEAT_MAP) != 0)
              .run()
              .release();
    });
  });
}

size_t df_results_count(const df_results* results) {
  return results == nullptr ? 0 : results->all.size();
}

const df_result* df_results_get(const df_results* results, size_t index) {
  return index < df_results_count(results) ? &results->all[index] : nullptr;
}

void df_results_free(df_results** results) {
  if (results == nullptr) return;
  delete *results;
  *results = nullptr;
}
