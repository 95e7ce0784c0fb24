// Where tests find what is not in their code. Told to one file alone (places.cpp), so that test
// objects are the same in every checkout and a compiler cache serves them all.
#pragma once

#include <filesystem>
#include <string>

namespace dfengine::test {

std::filesystem::path golden_folder();  // tests/golden
// Third-party faces and weights: DFENGINE_DATA, else shared/data beside the checkout. Empty where
// there is none.
std::filesystem::path data_folder();
std::filesystem::path build_folder();
std::string program();  // dfengine

}  // namespace dfengine::test
