#include "engine/train/run_files.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "kernels/base/atomic_file.h"
#include "kernels/base/error.h"

namespace dfengine {

void create_run_folder(const std::filesystem::path& folder) {
  std::error_code error;
  if (std::filesystem::exists(folder / kCheckpoint, error))
    throw UsageError(folder.string() +
                     " already holds a run: go on with --resume, or name another --output");
  make_folder(folder);
}

void remove_leftovers(const std::filesystem::path& folder) {
  for (const char* name : {kBestModel, kCheckpoint, kResults, kArguments, kBadFiles})
    remove_temporaries(folder / name);
}

void write_args(const TrainOptions& options) {
  nlohmann::json args = to_json(options);
  args["engine_version"] = DFENGINE_VERSION;
  write_text(options.output / kArguments, args.dump(2) + "\n");
}

void write_results(const std::filesystem::path& folder, const std::vector<EpochRow>& rows) {
  std::string text =
      "epoch,train_loss,train_accuracy,val_loss,val_accuracy,val_auc,lr,loss_scale,skipped,"
      "seconds,data_wait\n";
  for (const EpochRow& r : rows)
    text += fmt::format("{},{:.6f},{:.6f},{:.6f},{:.6f},{:.6f},{:.6g},{:g},{},{:.1f},{:.4f}\n",
                        r.epoch, r.train_loss, r.train_accuracy, r.valid_loss, r.valid_accuracy,
                        r.valid_auc, r.lr, r.loss_scale, r.skipped, r.seconds, r.data_wait);
  write_text(folder / kResults, text);
}

}  // namespace dfengine
