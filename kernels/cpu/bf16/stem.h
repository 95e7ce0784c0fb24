// The stem's rows in bf16, see BFloat16Table.
#pragma once

#include "kernels/stem_conv.h"

namespace dfengine::cpu::DF_ISA {

void stem_rows(const StemProblem& p, const BFloat16* x, const BFloat16* w,
               const Epilogue<BFloat16>& epilogue, Index begin, Index end, BFloat16* y);

}  // namespace dfengine::cpu::DF_ISA
