// Contract of upfirdn, the resampling of images by a filter; ../math/upfirdn.h says what one axis does.
//
// Images are dense, channel by channel or pixel by pixel. A separable filter is one row of taps that serves each axis
// of more than one tap; another is a matrix (taps of y, taps of x). Its numbers are of the accumulation type.
#pragma once

#include "common.h"

namespace ganops {

struct Axis {
  int64_t in = 1, out = 1, up = 1, down = 1, padding = 0, taps = 1;
};

// The largest factor and the largest number of taps of an axis that the kernels take.
constexpr int64_t most_factor = 8, most_taps = 32;

struct Resampling {
  int64_t samples, channels;
  Axis y, x;
  bool channels_last, separable, flip;
  double gain;

  int64_t planes() const { return samples * channels; }
};

struct UpfirdnKernels {
  // out = gain·upfirdn(in).
  void (*apply)(Stream, DType, const Resampling&, const void* in, const void* filter, void* out);
};

}  // namespace ganops
