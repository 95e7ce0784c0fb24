#include "engine/serve/models.h"

#include <fmt/format.h>

#include <algorithm>

namespace dfengine::serve {
namespace {

void check_names(const std::vector<ModelFile>& files) {
  if (files.empty()) throw UsageError("no model to serve: name one with --model");
  for (const ModelFile& one : files) {
    constexpr const char* kAllowed =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    if (one.name.empty() || one.name.find_first_not_of(kAllowed) != std::string::npos)
      throw UsageError(fmt::format(
          "model name '{}': letters, digits, '.', '_' and '-' alone: --model NAME=FILE", one.name));
    if (std::ranges::count(files, one.name, &ModelFile::name) > 1)
      throw UsageError(fmt::format("two models are called '{}': --model NAME=FILE", one.name));
  }
}

}  // namespace

Models::Models(std::vector<ModelFile> files, Scorer& scorer)
    : files_(std::move(files)), scorer_(scorer) {
  check_names(files_);
  for (const ModelFile& one : files_)
    ready_[one.name] = scorer_.make_ready(one.name, load_detector(one.file));
}

std::shared_ptr<ServedModel> Models::find(const std::string& name) const {
  const std::lock_guard lock(mutex_);
  const auto found = ready_.find(name.empty() ? files_.front().name : name);
  return found == ready_.end() ? nullptr : found->second;
}

std::vector<std::string> Models::names() const {
  std::vector<std::string> names;
  for (const ModelFile& one : files_) names.push_back(one.name);
  return names;
}

void Models::reload(const std::function<void(const std::string&)>& tell, Metrics& metrics) {
  for (const ModelFile& one : files_) {
    try {
      std::shared_ptr<ServedModel> fresh = scorer_.make_ready(one.name, load_detector(one.file));
      {
        const std::lock_guard lock(mutex_);
        ready_[one.name].swap(fresh);
      }
      metrics.reload(true);
      tell(fmt::format("model {} loaded anew from {}", one.name, one.file.string()));
    } catch (const std::exception& e) {
      metrics.reload(false);
      tell(fmt::format("model {} stays as it was: {}", one.name, e.what()));
    }
  }
}

}  // namespace dfengine::serve
