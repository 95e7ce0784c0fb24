// The models of the service, by name.
#pragma once

#include <filesystem>

#include "engine/serve/scorer.h"

namespace dfengine::serve {

struct ModelFile {
  std::string name;
  std::filesystem::path file;
};

// Any thread may call what is const.
class Models {
 public:
  // Loads all of them; the first is the one for requests that name none. scorer must outlive it.
  // Throws what load_detector throws, and UsageError for none, or a name that appears twice or has
  // other characters than letters, digits, '.', '_' and '-'.
  Models(std::vector<ModelFile> files, Scorer& scorer);

  // Null where there is none of that name; "" is the first.
  std::shared_ptr<ServedModel> find(const std::string& name) const;
  std::vector<std::string> names() const;
  // Loads every file anew. One that cannot be used leaves its model as it was, and what is wrong
  // with it is told. Requests that are on their way keep the model that they began with.
  void reload(const std::function<void(const std::string&)>& tell, Metrics& metrics);

 private:
  const std::vector<ModelFile> files_;
  Scorer& scorer_;
  mutable std::mutex mutex_;
  std::map<std::string, std::shared_ptr<ServedModel>> ready_;
};

}  // namespace dfengine::serve
