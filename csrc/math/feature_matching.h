// Feature matching at one pair of elements, with d = real − fake.
#pragma once

#include "scalar.h"

namespace ganops {
inline namespace GANOPS_ISA {

// How far two features are apart, and the derivative with respect to d.
enum class Distance : int { l1, l2 };

template <bool l1, class A>
GANOPS_INLINE A distance(A d) {
  if constexpr (l1) {
    return absolute(d);
  } else {
    return d * d;
  }
}

// All that the gradient of |d| needs of d, in two bits: 1 where d > 0, 2 where d < 0, 0 where d is zero or NaN.
template <class A>
GANOPS_INLINE uint32_t sign_code(A d) {
  return (d > 0 ? 1u : 0u) | (d < 0 ? 2u : 0u);
}

// slope·sign(d). The product with zero keeps a NaN or infinite slope visible, as in autograd's formula.
template <class A>
GANOPS_INLINE A times_sign(A slope, uint32_t code) {
  return code & 1u ? slope : code & 2u ? -slope : slope * A(0);
}

}  // namespace GANOPS_ISA
}  // namespace ganops
