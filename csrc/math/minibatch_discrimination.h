// Minibatch discrimination at one pair (i, j) and one comparison. With the distance d = Σ_c |m_i − m_j| the closeness
// is k = e^−d, and along a tangent t of m
//
//     q = −Σ_c sign(m_i − m_j)·(t_i − t_j)
//
// is the derivative of −d. The signs are constant but for ties, so that the derivatives of k along tangents are the
// products k·q·q'·…: one formula for every order.
#pragma once

#include "scalar.h"

namespace ganops {
inline namespace GANOPS_ISA {

// x·sign(difference) for difference = m_j − m_i; 0 at a tie, the subgradient that torch.sign takes.
GANOPS_INLINE float toward(float difference, float x) {
  return difference == 0 ? 0.f : bits<float>((bits<uint32_t>(difference) & 0x80000000u) ^ bits<uint32_t>(x));
}
GANOPS_INLINE double toward(double difference, double x) {
  constexpr uint64_t sign = uint64_t(1) << 63;
  return difference == 0 ? 0. : bits<double>((bits<uint64_t>(difference) & sign) ^ bits<uint64_t>(x));
}

}  // namespace GANOPS_ISA
}  // namespace ganops
