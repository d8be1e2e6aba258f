// Clipping at one element.
#pragma once

#include "scalar.h"

namespace ganops {
inline namespace GANOPS_ISA {

// NaN stays NaN: both comparisons are false for it.
template <class A>
GANOPS_INLINE A clip(A x, A limit) {
  const A lower = x < -limit ? -limit : x;
  return lower > limit ? limit : lower;
}

}  // namespace GANOPS_ISA
}  // namespace ganops
