// Contract of weight clipping: every element of every tensor is clamped to [−limit, limit], in place. One dtype a call.
#pragma once

#include "common.h"

namespace ganops {

struct ClipWeightsKernels {
  void (*clip)(Stream, DType, void* const* data, const int64_t* count, int64_t tensors, double limit);
};

}  // namespace ganops
