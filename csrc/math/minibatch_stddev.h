// The standard deviation of a group of G samples at one feature: with μ = mean x and c = x − μ
//
//     σ = √(mean c² + ε)      ∂σ/∂x_g = c_g/(G·σ)
//
// and along a tangent t, with τ = t − mean t, the derivatives of these two
//
//     σ' = mean(c·t)/σ        (τ_g − c_g·σ'/σ)/(G·σ)
//
// ε keeps them all finite where the samples are alike: there c = 0, and the gradient is 0. To make it so to the bit,
// and not to lose digits to a mean far from 0, the mean is taken of the differences from the group's first sample.
#pragma once

#include "root.h"

namespace ganops {
inline namespace GANOPS_ISA {

// That of the published codes (ProGAN, StyleGAN).
constexpr double stddev_eps = 1e-8;

template <class A>
GANOPS_INLINE A deviation_of(A variance) {
  return square_root(variance + A(stddev_eps));
}

// The derivative of the gradient, times G. `inverse` is 1/σ.
template <class A>
GANOPS_INLINE A stddev_curvature(A tangent, A centred, A along, A inverse) {
  return (tangent - centred * (along * inverse)) * inverse;
}

}  // namespace GANOPS_ISA
}  // namespace ganops
