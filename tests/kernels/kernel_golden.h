// Reads tests/golden/kernels.json, made by tests/golden/make_kernel_goldens.py with PyTorch.
#pragma once

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/support/places.h"

namespace dfengine::test {

inline nlohmann::json kernel_golden(const std::string& key) {
  std::ifstream file(golden_folder() / "kernels.json");
  return nlohmann::json::parse(file).at(key);
}

template <class T>
std::vector<T> golden_values(const nlohmann::json& object, const std::string& key) {
  std::vector<T> values;
  for (const nlohmann::json& v : object.at(key)) values.push_back(static_cast<T>(v.get<double>()));
  return values;
}

}  // namespace dfengine::test
