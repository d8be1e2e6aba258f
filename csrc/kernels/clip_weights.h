// Contract of weight clipping: every element of every tensor is clamped to [low, high], in place. One dtype a call.
#pragma once

#include "common.h"

namespace ganops {

struct ClipWeightsKernels {
  void (*clip)(Stream, DType, void* const* data, const int64_t* count, int64_t tensors, double low, double high);
};

}  // namespace ganops
