// dfengine predict: the chance of being fake for pictures without labels.
#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "apps/dfengine/choice.h"
#include "apps/dfengine/commands.h"
#include "apps/dfengine/common.h"
#include "apps/dfengine/picture_arguments.h"
#include "apps/dfengine/predict_table.h"
#include "engine/data/sets/csv.h"
#include "engine/evaluate/evaluate.h"
#include "kernels/base/error.h"

namespace dfengine {
namespace {

struct Arguments {
  std::filesystem::path model;
  std::vector<std::filesystem::path> paths;
  std::filesystem::path csv, data;
  AnswerFormat format = AnswerFormat::Table;
  Views views = Views::One;
  std::optional<double> threshold;
  Index max_pixels = kMaxImagePixels;
  DeviceOptions device;
};

struct Result {
  std::filesystem::path path;
  std::optional<double> prob;  // none: unreadable
  std::string error;
};

std::vector<Result> predict(const Arguments& a, Model& model) {
  const std::vector<std::filesystem::path> paths = list_pictures(a.paths);
  ThreadPool pool(a.device.thread_count());
  const std::optional<Device> device = a.device.open();
  Predictor predictor(model, pool, Predictor::Output::Logits, device ? &*device : nullptr);
  std::vector<Result> results(paths.size());
  for (std::size_t i = 0; i < paths.size(); ++i) results[i].path = paths[i];
  std::vector<float> logits;
  const auto bad = for_each_batch(
      paths, model.preparation(a.max_pixels),
      [&](const std::uint8_t* pixels, const std::vector<std::size_t>& which) {
        logits.resize(which.size());
        run_views(predictor, pixels, static_cast<Index>(which.size()), view_count(a.views),
                  logits.data());
        for (std::size_t k = 0; k < which.size(); ++k) {
          results[which[k]].prob = model.probability(logits[k]);
          require_number(a.model, *results[which[k]].prob);
        }
      },
      a.views);
  for (const BadPicture& b : bad)
    for (Result& r : results)
      if (r.path == b.path) r.error = b.reason;
  return results;
}

std::string verdict(const Model& model, double prob) {
  return model.classes[prob >= model.threshold ? 1 : 0];
}

void print_table(const std::vector<Result>& results, const Model& model) {
  fmt::print("prob_fake  verdict  path (threshold {:g})\n", model.threshold);
  for (const Result& r : results)
    if (r.prob)
      fmt::print("{:9.4f}  {:7}  {}\n", *r.prob, verdict(model, *r.prob), r.path.string());
}

void print_csv(const std::vector<Result>& results, const Model& model) {
  fmt::print("path,prob_fake,verdict,error\n");
  for (const Result& r : results) {
    if (r.prob) {
      fmt::print("{},{:.8f},{},\n", csv_field(r.path.string()), *r.prob, verdict(model, *r.prob));
    } else {
      fmt::print("{},,,{}\n", csv_field(r.path.string()), csv_field(r.error));
    }
  }
}

void print_json(const std::vector<Result>& results, const Model& model) {
  nlohmann::json all = nlohmann::json::array();
  for (const Result& r : results) {
    nlohmann::json one = {{"path", r.path.string()}};
    if (r.prob) {
      one["prob_fake"] = *r.prob;
      one["verdict"] = verdict(model, *r.prob);
    } else {
      one["error"] = r.error;
    }
    all.push_back(std::move(one));
  }
  const nlohmann::json report = {{"positive_class", model.positive_class},
                                 {"threshold", model.threshold},
                                 {"results", std::move(all)}};
  // A file name need not be UTF-8: bytes that are not become U+FFFD.
  fmt::print("{}\n", report.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
}

void run_predict(const Arguments& a) {
  if (a.paths.empty() && a.csv.empty())
    throw Exit{ExitCode::Usage, "name pictures, folders of them, or a table with --csv"};
  Model model = load_detector(a.model);
  model.threshold = a.threshold.value_or(model.threshold);
  if (!a.csv.empty()) return predict_table(model, a.model, a.csv, a.data, a.format, a.device);
  a.device.check();
  const std::vector<Result> results = predict(a, model);
  if (a.format == AnswerFormat::Csv) {
    print_csv(results, model);
  } else if (a.format == AnswerFormat::Json) {
    print_json(results, model);
  } else {
    print_table(results, model);
  }
  std::fflush(stdout);
  std::size_t bad = 0;
  for (const Result& r : results) {
    if (r.prob) continue;
    ++bad;
    fmt::print(stderr, "dfengine: {}\n", r.error);
  }
  if (bad > 0)
    throw Exit{ExitCode::BadData,
               fmt::format("{} of {} pictures could not be read", bad, results.size())};
}

}  // namespace

void add_predict(CLI::App& program) {
  auto a = std::make_shared<Arguments>();
  CLI::App* command = program.add_subcommand(
      "predict",
      "Chance of being fake for each picture. Trust it for pictures like those the model was "
      "trained on: other generators, crops or compressions need figures of their own (dfengine "
      "eval)");
  command->footer(
      "Columns of csv and keys of json: path; prob_fake, the calibrated probability of being fake, "
      "0 to 1;\nverdict, the class it means at the threshold; error, why a picture could not be "
      "read (prob_fake and verdict\nare then empty). json also has the threshold and the positive "
      "class.\nWith --csv also decided_by: metadata, image or hybrid.");
  command->add_option("--model", a->model, "Model file, as train writes it")->required();
  add_choice(*command, "--format", a->format, "table, csv or json");
  CLI::Option* paths = command->add_option("PATH", a->paths, "Pictures, or folders of them");
  CLI::Option* csv = command->add_option(
      "--csv", a->csv, "Table with a column path and the columns that a hybrid or cascade needs");
  command->add_option("--data", a->data, "Folder that the paths start from; default the table's")
      ->needs(csv);
  paths->excludes(csv);
  add_tta(*command, a->views);
  add_threshold(*command, a->threshold);
  add_max_pixels(*command, a->max_pixels);
  for (const char* name : {"--tta", "--threshold", "--max-pixels"})
    csv->excludes(command->get_option(name));
  a->device.add_to(*command);
  command->callback([a] { run_predict(*a); });
}

}  // namespace dfengine
