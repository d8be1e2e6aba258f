// One axis of upfirdn: insert up − 1 zeros after every element, pad or crop, correlate with the filter F, keep every
// down-th place. Only every up-th tap meets an element, so that
//
//     y[o] = Σ_k F[k]·x[(o·down + k − padding)/up]      over those k in [0, taps) that up divides, x being 0 outside.
//
// A convolution reads the filter backwards, F[k] = f[taps − 1 − k]. The adjoint is an upfirdn again: up and down
// exchanged, the filter read in the other direction, and taps − 1 − padding for the padding.
#pragma once

#include "scalar.h"

namespace ganops {
inline namespace GANOPS_ISA {

// The first element that output o meets, and the tap that meets it. The taps after it follow `up` apart, and their
// elements are neighbours. An element may lie outside of x.
struct Meeting {
  int64_t element, tap;
};

template <class Axis>
GANOPS_INLINE Meeting meeting(const Axis& axis, int64_t o) {
  const int64_t place = o * axis.down - axis.padding;
  if (axis.up == 1) return {place, 0};
  // Rounded up; a division takes as long as a row of a small image.
  const int64_t i = axis.up == 2 ? (place + 1) >> 1 : place > 0 ? (place + axis.up - 1) / axis.up : place / axis.up;
  return {i, i * axis.up - place};
}

// Where tap k of the correlation lies in the filter given.
GANOPS_INLINE int64_t tap_place(int64_t k, int64_t taps, bool flip) { return flip ? k : taps - 1 - k; }

}  // namespace GANOPS_ISA
}  // namespace ganops
