// eˣ − 1 for x ≤ 0, without the cancellation near 0.
#pragma once

#include "scalar.h"

namespace ganops {
inline namespace GANOPS_ISA {

#ifdef GANOPS_DEVICE_MATH

GANOPS_INLINE float expm1_nonpositive(float x) { return expm1f(x); }
GANOPS_INLINE double expm1_nonpositive(double x) { return expm1(x); }

#else

// 2ᵏ(eʳ − 1) + (2ᵏ − 1); the fit of eʳ begins with 1. Below −40 the answer is −1.
template <class A>
GANOPS_INLINE A expm1_nonpositive(A x) {
  using F = Format<A>;
  x = x < A(-40) ? A(-40) : x;
  const Reduced<A> e(x);
  const A whole = static_cast<A>(e.k), r = (x - whole * F::ln2_high) - whole * F::ln2_low;
  constexpr int terms = sizeof(F::exp) / sizeof(A);
  A p = F::exp[terms - 1];
#pragma GCC unroll 32
  for (int n = terms - 2; n > 0; --n) p = p * r + F::exp[n];
  const A scale = power_of_two<A>(e.k);
  return scale * (p * r) + (scale - 1);
}

#endif

}  // namespace GANOPS_ISA
}  // namespace ganops
