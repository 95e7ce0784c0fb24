#include "engine/runtime/parameter_store.h"

#include <algorithm>
#include <cmath>

#include "kernels/base/error.h"
#include "kernels/base/random.h"

namespace dfengine {
namespace {

template <class T>
void initialise(const ParamSpec& spec, std::uint64_t seed, int position, T* out) {
  const Index n = spec.count();
  if (spec.init.he_fan <= 0) {
    std::fill_n(out, n, static_cast<T>(spec.init.constant));
    return;
  }
  const double std_dev = std::sqrt(2.0 / static_cast<double>(spec.init.he_fan));
  Random random(seed, RandomStream::Init, static_cast<std::uint64_t>(position));
  for (Index i = 0; i < n; ++i) out[i] = static_cast<T>(std_dev * random.normal());
}

}  // namespace

ParameterStore::ParameterStore(std::vector<ParamSpec> specs, Element element, std::uint64_t seed)
    : specs_(std::move(specs)), element_(element) {
  // Numbers for the initial values follow the network's order, whatever order memory has.
  std::unordered_map<std::string, int> position;
  for (std::size_t i = 0; i < specs_.size(); ++i) position[specs_[i].name] = static_cast<int>(i);
  std::stable_partition(specs_.begin(), specs_.end(),
                        [](const ParamSpec& p) { return is_learned(p.role); });
  for (std::size_t i = 0; i < specs_.size(); ++i) {
    offsets_.push_back(total_count_);
    index_[specs_[i].name] = static_cast<int>(i);
    total_count_ += specs_[i].count();
    if (is_learned(specs_[i].role)) learned_count_ = total_count_;
  }
  memory_ = Memory(total_count_ * element_size(element_));
  for (std::size_t i = 0; i < specs_.size(); ++i)
    with_parameter_type(element_, [&](auto t) {
      initialise(specs_[i], seed, position[specs_[i].name],
                 static_cast<decltype(t)*>(value(static_cast<int>(i))));
    });
}

int ParameterStore::find(std::string_view name) const {
  const auto found = index_.find(std::string(name));
  return found == index_.end() ? -1 : found->second;
}

namespace {

template <class From, class To>
void scatter(const ParamSpec& spec, std::span<const From> from, To* to) {
  if (static_cast<Index>(from.size()) != spec.count())
    throw ShapeError("parameter " + spec.name + ": wrong number of values");
  for (std::size_t i = 0; i < from.size(); ++i)
    to[spec.memory_position(static_cast<Index>(i))] = static_cast<To>(from[i]);
}

}  // namespace

void ParameterStore::set(int i, std::span<const float> file_order) {
  with_parameter_type(element_, [&](auto t) {
    scatter(specs_[static_cast<std::size_t>(i)], file_order, static_cast<decltype(t)*>(value(i)));
  });
}

void ParameterStore::set(int i, std::span<const double> file_order) {
  with_parameter_type(element_, [&](auto t) {
    scatter(specs_[static_cast<std::size_t>(i)], file_order, static_cast<decltype(t)*>(value(i)));
  });
}

std::vector<float> ParameterStore::get(int i) const {
  const ParamSpec& spec = specs_[static_cast<std::size_t>(i)];
  std::vector<float> out(static_cast<std::size_t>(spec.count()));
  with_parameter_type(element_, [&](auto t) {
    const auto* from = static_cast<const decltype(t)*>(value(i));
    for (std::size_t k = 0; k < out.size(); ++k)
      out[k] = static_cast<float>(from[spec.memory_position(static_cast<Index>(k))]);
  });
  return out;
}

}  // namespace dfengine
