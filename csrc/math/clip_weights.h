// Clipping at one element.
#pragma once

#include "scalar.h"

namespace ganops {
inline namespace GANOPS_ISA {

// NaN stays NaN: both comparisons are false for it.
template <class A>
GANOPS_INLINE A clip(A x, A low, A high) {
  const A raised = x < low ? low : x;
  return raised > high ? high : raised;
}

}  // namespace GANOPS_ISA
}  // namespace ganops
