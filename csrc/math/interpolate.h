// Interpolation at one element.
#pragma once

#include "scalar.h"

namespace ganops {
inline namespace GANOPS_ISA {

// w·r + (1 − w)·f: exact at w = 0 and w = 1.
template <class A>
GANOPS_INLINE A interpolate(A real, A fake, A weight) {
  return weight * real + (1 - weight) * fake;
}

// ∂/∂w, times the gradient from above.
template <class A>
GANOPS_INLINE A interpolate_weight_gradient(A grad, A real, A fake) {
  return grad * (real - fake);
}

}  // namespace GANOPS_ISA
}  // namespace ganops
