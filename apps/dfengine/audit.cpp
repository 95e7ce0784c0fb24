// dfengine audit: what a labelled set gives away before anything is trained on it.
#include "engine/tables/audit/audit.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "apps/dfengine/arguments/common.h"
#include "apps/dfengine/arguments/data.h"
#include "apps/dfengine/arguments/help.h"
#include "apps/dfengine/commands.h"
#include "kernels/base/atomic_file.h"
#include "kernels/base/thread_pool.h"

namespace dfengine {
namespace {

struct Arguments {
  DataOptions data;
  std::filesystem::path output;
  int threads = 0;
};

void run_audit(const Arguments& a) {
  const audit::Audit found = audit::audit(a.data, ThreadPool::count_for(a.threads));
  fmt::print("{}", audit::to_text(found));
  if (a.output.empty()) return;
  make_folder(a.output);
  write_text(a.output / "audit.json", audit::to_json(found).dump(2) + "\n");
  write_text(a.output / "audit.html", audit::to_html(found));
}

}  // namespace

void add_audit(CLI::App& program) {
  const auto [command, a] = add_command<Arguments>(
      program, "audit", "Look for what gives the label away, before anything is trained.",
      std::string("Prints counts, copies of one file, and columns and file properties that "
                  "tell real from fake without the picture, each with the AUC that it "
                  "reaches alone. OUTPUT becomes a folder with audit.html and audit.json.\n") +
          kDataNotes,
      run_audit);
  add_data(command, a.data);
  command.add_option("--output", a.output, "Folder for audit.html and audit.json.")
      ->default_str("none, the findings are only printed");
  add_threads(command, a.threads);
}

}  // namespace dfengine
