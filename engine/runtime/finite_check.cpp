#include "engine/runtime/finite_check.h"

#include <cmath>
#include <cstring>

#include "kernels/base/error.h"
#include "kernels/base/stored.h"

namespace dfengine {
namespace {

// Position of the first value that is not finite, -1: there is none.
template <class T>
Index first_bad(std::span<const std::byte> bytes) {
  const Index count = std::ssize(bytes) / Index{sizeof(T)};
  for (Index i = 0; i < count; ++i) {
    T value;
    std::memcpy(&value, bytes.data() + i * Index{sizeof(T)}, sizeof(T));
    if (!std::isfinite(value_of(value))) return i;
  }
  return -1;
}

Index first_bad(Element element, std::span<const std::byte> bytes) {
  switch (element) {
    case Element::U8:
      return -1;
    case Element::F16:
      return first_bad<Half>(bytes);
    case Element::BF16:
      return first_bad<BFloat16>(bytes);
    case Element::F32:
      return first_bad<float>(bytes);
    case Element::F64:
      break;
  }
  return first_bad<double>(bytes);
}

class Check {
 public:
  Check(const BoundStep& step, const Fetch& fetch) : step_(step), fetch_(fetch) {}

  void tensor(ConstPlace memory, const Spec& spec, const std::string& what) const {
    if (!memory) return;
    const Index bad = first_bad(spec.element, fetch_(memory.address, spec.bytes()));
    if (bad < 0) return;
    const Shape& s = spec.shape;
    fail(what + " " + to_string(s) + " is not finite at [" +
         std::to_string(bad / (s.h * s.w * s.c)) + ", " + std::to_string(bad / (s.w * s.c) % s.h) +
         ", " + std::to_string(bad / s.c % s.w) + ", " + std::to_string(bad % s.c) + "]");
  }

  void vector(ConstPlace memory, Element element, Index count, const std::string& what) const {
    if (!memory) return;
    const Index bad = first_bad(element, fetch_(memory.address, count * element_size(element)));
    if (bad >= 0) fail(what + " is not finite at value " + std::to_string(bad));
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw Error("layer " + step_.node->name + " (" + kind(step_.node->operation) + "), " +
                std::string(name_of(step_.kind)) + ": " + what + "; all that it read was finite" +
                ". Try a smaller --lr, or --precision bf16 or fp32 where this was fp16");
  }

  const BoundStep& step_;
  const Fetch& fetch_;
};

}  // namespace

void require_finite(const BoundStep& step, bool gradients, const Fetch& fetch) {
  const Check check(step, fetch);
  if (step.kind != StepKind::Backward) return check.tensor(step.forward.y, step.out, "its output");
  if (!gradients) return;
  const BackwardIo& io = step.backward;
  for (std::size_t k = 0; k < step.in.size(); ++k)
    check.tensor(io.dx[k], step.gradients[k], "the gradient of input " + std::to_string(k));
  const std::vector<ParamSpec> all = params(step.node->operation, step.node->name);
  // Parameters are float on devices.
  const Element element = step.out.element == Element::F64 ? Element::F64 : Element::F32;
  for (std::size_t k = 0; k < all.size(); ++k)
    check.vector(io.dparams[k], element, all[k].count(), "the gradient of " + all[k].name);
}

}  // namespace dfengine
