#include "engine/train/initial_model.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <optional>

#include "engine/data/digest.h"
#include "engine/data/sets/groups.h"
#include "engine/model/combine.h"
#include "engine/model/training_pictures.h"
#include "kernels/base/error.h"
#include "kernels/base/json_bytes.h"
#include "kernels/base/sha256.h"
#include "weights/pretrained.h"
#include "weights/read_file.h"

namespace dfengine {

DataSource open_source(const TrainOptions& options, bool resumed) try {
  return hold_out(open_data(options, {"train", "valid"}), options.hold_out);
} catch (const DataError& e) {
  if (!resumed) throw;
  throw DataError(std::string(e.what()) +
                  "; where pictures or tables were moved, name their place: --data, --csv");
}

Model initial_model(const TrainOptions& o, std::optional<Index> native) {
  NetworkConfig config;
  config.width = o.width;
  std::optional<Model> base;
  const std::filesystem::path file = weights::find_weights(o.weights);
  if (!file.empty()) {
    base = load_model(file);
    config = base->config;
    require_float(*base, "is trained");
    if (config.members > 1)
      throw UsageError(file.string() +
                       ": an ensemble is not trained; train from one of its members");
  }
  if (native && !(base && base->config.head == Head::Detector)) config.input_size = *native;
  if (o.img_size != 0) config.input_size = o.img_size;
  config.validate();  // what training sees
  if (o.eval_size != 0) config.input_size = o.eval_size;
  if (o.stem_stride != 0) config.stem_stride = o.stem_stride;
  config.head = Head::Detector;
  config.hidden = NetworkConfig{}.hidden;
  config.dropout = o.dropout;
  if (o.pixels == PixelScale::ZeroOne) {
    config.mean = {0, 0, 0};
    config.std_dev = {1, 1, 1};
  }
  config.validate();
  Model model = base ? with_head(*base, config, o.seed) : make_model(config, o.seed);
  if (base) {
    model.crop = base->crop;
    model.resize = base->resize;
    model.remarks = base->remarks;
  }
  model.crop = o.crop.value_or(model.crop);
  model.resize = o.resize.value_or(model.resize);
  if (base) {
    for (const char* key : {"source_family", kBnFolded})
      if (base->notes.contains(key)) model.notes[key] = base->notes.at(key);
    if (base->config.head == Head::Detector) model.notes[kStartedWithHead] = "yes";
    note_earlier_runs(model, {&*base, 1});
    model.notes["source_file"] = readable(file.filename().string());
    model.notes["source_sha256"] = sha256_hex(weights::read_file(file));
  }
  return model;
}

std::vector<std::string> remarks_of_weights(const Model& model, const DataOptions& data,
                                            const DataSource& source) {
  std::vector<std::string> remarks = model.remarks;
  const auto earlier = model.notes.find(kEarlierArguments);
  if (earlier == model.notes.end()) return remarks;
  for (std::size_t i = 1; i < source.splits.size(); ++i) {
    const Dataset& split = source.splits[i];
    const SeenPictures seen = seen_in_training({*earlier}, split, data);
    if (seen.count > 0)
      remarks.push_back(fmt::format(
          "warning: these weights were trained on {} of the {} pictures of split {} ({}): figures "
          "there are better than on new ones. Give both runs the same set, --split and --seed",
          seen.count, split.samples.size(), split.split, seen.set));
  }
  return remarks;
}

std::string arguments_note(const TrainOptions& options) {
  nlohmann::json args = to_json(options);
  args.erase("output");
  args.erase("threads");
  args.erase("cache");
  std::vector<std::string> keys = {"weights"};
  for (const DataOption& row : data_options())
    if (std::holds_alternative<std::filesystem::path DataOptions::*>(row.place))
      keys.emplace_back(row.key);
  for (const std::string& key : keys) {
    const std::filesystem::path path = bytes_from_json(args.at(key));
    if (!path.is_absolute()) continue;
    // The file travels, and the folders of this machine are nobody's business.
    args["places"][key] = place_digest(path);
    args[key] =
        bytes_to_json((path.has_filename() ? path : path.parent_path()).filename().string());
  }
  if (args.contains("teacher"))
    for (nlohmann::json& teacher : args["teacher"])
      teacher = bytes_to_json(std::filesystem::path(bytes_from_json(teacher)).filename().string());
  return args.dump();
}

}  // namespace dfengine
