// Contract of the leaky ReLU on a finer grid; ../math/filtered_lrelu.h has its formula. Images are in planes. Filters
// are separable, and they, the biases and the sums are of the accumulation type.
//
// Every order is one of two forms: with u = U(x + b),
//     value    D φ(u)
//     slope    D(φ'(u)·U(t + c)) of a direction (t, c), or Uᵀ(φ'(u)·Dᵀ g) of a gradient g
// and both are a signal or two brought to the fine grid, a product there, and a resampling from it.
#pragma once

#include "upfirdn.h"

namespace ganops {

// What the kernels take at most.
constexpr int64_t most_lrelu_factor = 4, most_lrelu_taps = 24;

struct FilteredLrelu {
  Resampling up, second, down;  // of x; of the second signal, if there is one; from the fine grid to the result
  double gain, slope, clamp;    // clamp < 0: none

  int64_t planes() const { return up.planes(); }
};

struct LreluInputs {
  const void *x, *bias, *up_filter;
  const void *second, *second_bias, *second_filter;  // null for the value; a null second_bias is none
  const void* down_filter;
};

struct FilteredLreluKernels {
  // Bytes of scratch memory that the sums need.
  int64_t (*workspace)(DType, const FilteredLrelu&);

  // sums: null, or of each channel the sum over its results.
  void (*apply)(Stream, DType, const FilteredLrelu&, const LreluInputs&, void* out, void* sums, void* workspace);
};

}  // namespace ganops
