// A leaky ReLU on a finer grid: y = D φ(U(x + b)), where U and D are upfirdns (upfirdn.h) and
//
//     φ(u) = clamp(gain·u for u > 0, gain·slope·u else)
//
// φ is linear piece by piece, so that its derivative in a direction is φ'(u) times it, and further ones are none.
#pragma once

#include "scalar.h"

namespace ganops {
inline namespace GANOPS_ISA {

// V: an element, or on the CPU a vector of them. Without a clamp `bounded` is false.
template <class A>
struct Leaky {
  A gain, leak, bound;  // leak: gain·slope
  bool bounded;

  template <class V>
  GANOPS_INLINE V value(V u) const {
    const V v = u > V{} ? u * gain : u * leak, high = bound - V{};
    if (!bounded) return v;
    const V below = v > high ? high : v;
    return below < -high ? -high : below;
  }
  // 0 beyond the clamp, and for NaN where there is one.
  template <class V>
  GANOPS_INLINE V slope(V u) const {
    const V s = u > V{} ? gain - V{} : leak - V{}, v = u * s, high = bound - V{};
    if (!bounded) return s;
    const V below = v <= high ? s : V{};
    return v >= -high ? below : V{};
  }
};

}  // namespace GANOPS_ISA
}  // namespace ganops
