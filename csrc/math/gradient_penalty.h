// The penalty at one norm n = ‖g‖₂: φ(n) = (n − t)², one-sided max(n − t, 0)².
#pragma once

#include "scalar.h"

namespace ganops {
inline namespace GANOPS_ISA {

template <class A>
GANOPS_INLINE A penalty_value(A n, A target, bool one_sided) {
  const A excess = n - target;
  return one_sided && excess < 0 ? A(0) : excess * excess;
}

// c(n) = φ'(n)/n = 2(1 − t/n), the factor of g in the gradient. At n = 0 the norm has no gradient: the subgradient 0 is
// taken, except for t = 0, where φ = ‖g‖² is smooth and c = 2 everywhere.
template <class A>
GANOPS_INLINE A penalty_slope(A n, A target, bool one_sided) {
  if (target == 0) return 2;
  if (n == 0 || (one_sided && n <= target)) return 0;
  return 2 * (1 - target / n);
}

// n·c'(n) = 2t/n, the factor of ⟨t, u⟩·u in the second derivative, where u = g/n. With unit vectors no cube of a small
// norm is formed.
template <class A>
GANOPS_INLINE A penalty_curvature(A n, A target, bool one_sided) {
  if (target == 0 || n == 0 || (one_sided && n <= target)) return 0;
  return 2 * target / n;
}

}  // namespace GANOPS_ISA
}  // namespace ganops
