// Bytes to normalised colours (see kernels/image_normalize.h). Colours repeat every three elements,
// so three vectors in a row start at colours 0, kLanes % 3 and 2 * kLanes % 3 and then it repeats.
#include "kernels/cpu/simd/tables.h"

#include "kernels/cpu/simd/elementwise.h"

namespace dfengine::cpu::DF_ISA {
namespace {

typedef std::uint8_t Bytes __attribute__((vector_size(kLanes)));
typedef std::uint16_t Words __attribute__((vector_size(2 * kLanes)));
typedef std::int32_t Ints __attribute__((vector_size(4 * kLanes)));

DF_INLINE Vec<kLanes> load_bytes(const std::uint8_t* p) {
  Bytes bytes;
  __builtin_memcpy(&bytes, p, sizeof(bytes));
  // By way of words: to four times the size gcc 12 widens each element alone.
  const Words words = __builtin_convertvector(bytes, Words);
  return __builtin_convertvector(__builtin_convertvector(words, Ints), Vec<kLanes>);
}

void normalize(const Context& ctx, Index rows, const double mean[3], const double std_dev[3],
               const std::uint8_t* x, Stored* y) {
  constexpr Index kPeriod = 3 * kLanes;
  static_assert(kTaskElements % kPeriod == 0, "every task starts at colour 0");
  float scale[kPeriod], shift[kPeriod];
  for (Index i = 0; i < kPeriod; ++i) {
    scale[i] = static_cast<float>(1.0 / (255.0 * std_dev[i % 3]));
    shift[i] = static_cast<float>(-mean[i % 3] / std_dev[i % 3]);
  }
  for_tasks(ctx, rows * 3, [&](Index begin, Index length) {
    const std::uint8_t* in = x + begin;
    Stored* out = y + begin;
    Index i = 0;
    for (; i + kPeriod <= length; i += kPeriod) {
      for (Index j = 0; j < kPeriod; j += kLanes) {
        const Vec<kLanes> v = load_bytes(in + i + j);
        store<kLanes>(out + i + j, v * load<kLanes>(scale + j) + load<kLanes>(shift + j));
      }
    }
    for (; i < length; ++i)
      store<1>(out + i, Vec<1>{static_cast<float>(in[i]) * scale[i % 3] + shift[i % 3]});
  });
}

}  // namespace

const ImageNormalizeTable<Stored> image_normalize_table = {normalize};

}  // namespace dfengine::cpu::DF_ISA
