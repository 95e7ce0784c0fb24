// A limit that programs started from here inherit, until it goes out of scope.
#pragma once

#include <sys/resource.h>

#include <stdexcept>

namespace dfengine::test {

class ResourceLimit {
 public:
  ResourceLimit(__rlimit_resource resource, rlim_t most) : resource_(resource) {
    if (getrlimit(resource, &before_) != 0) throw std::runtime_error("no limits");
    const rlimit now = {most, before_.rlim_max};
    if (setrlimit(resource, &now) != 0) throw std::runtime_error("the limit cannot be set");
  }
  ~ResourceLimit() { setrlimit(resource_, &before_); }
  ResourceLimit(const ResourceLimit&) = delete;
  ResourceLimit& operator=(const ResourceLimit&) = delete;

 private:
  __rlimit_resource resource_;
  rlimit before_ = {};
};

}  // namespace dfengine::test
