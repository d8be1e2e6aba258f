// The activations of bias_act at one element.
//
// Each has its value φ(u) and, of r, which is the result φ(u) or u itself (`kept`), first(r) = φ'(u) and
// second(r) = d first/dr. From y = gain·φ(u) alone a derivative is known as well as y is rounded. An activation that is
// not `curved` has second = 0. alpha is the slope of lrelu below 0, and nothing to the others.
#pragma once

#include "../kernels/bias_act.h"
#include "adversarial_loss.h"
#include "expm1.h"
#include "scalar.h"

namespace ganops {
inline namespace GANOPS_ISA {
namespace activations {

struct Identity {
  static constexpr Kept kept = Kept::result;
  static constexpr bool curved = false;
  static constexpr double alpha = 0, gain = 1;
  template <class A>
  static GANOPS_INLINE A value(A u, A) {
    return u;
  }
  template <class A>
  static GANOPS_INLINE A first(A, A) {
    return 1;
  }
  template <class A>
  static GANOPS_INLINE A second(A, A) {
    return 0;
  }
};

// The comparisons are written so that NaN takes the branch that torch gives it.
struct Rectified : Identity {
  static constexpr double gain = 1.41421356237309504880;
  template <class A>
  static GANOPS_INLINE A value(A u, A) {
    return u <= 0 ? A(0) : u;
  }
  template <class A>
  static GANOPS_INLINE A first(A r, A) {
    return r <= 0 ? A(0) : A(1);
  }
};

// r has the sign of u because alpha is not negative.
struct Leaky : Rectified {
  static constexpr double alpha = 0.2;
  template <class A>
  static GANOPS_INLINE A value(A u, A alpha) {
    return u > 0 ? u : alpha * u;
  }
  template <class A>
  static GANOPS_INLINE A first(A r, A alpha) {
    return r > 0 ? A(1) : alpha;
  }
};

struct Curved {
  static constexpr Kept kept = Kept::result;
  static constexpr bool curved = true;
  static constexpr double alpha = 0, gain = 1;
};

// With m = e^(−2|u|) − 1 the size of tanh u is −m/(2 + m), which loses nothing near 0.
struct HyperbolicTangent : Curved {
  template <class A>
  static GANOPS_INLINE A value(A u, A) {
    const A m = expm1_nonpositive(-2 * absolute(u)), size = -m * reciprocal_unit(2 + m);
    return u < 0 ? -size : size;
  }
  template <class A>
  static GANOPS_INLINE A first(A r, A) {
    return 1 - r * r;
  }
  template <class A>
  static GANOPS_INLINE A second(A r, A) {
    return -2 * r;
  }
};

struct Logistic : Curved {
  template <class A>
  static GANOPS_INLINE A value(A u, A) {
    return Softplus::first(u);
  }
  template <class A>
  static GANOPS_INLINE A first(A r, A) {
    return r * (1 - r);
  }
  template <class A>
  static GANOPS_INLINE A second(A r, A) {
    return 1 - 2 * r;
  }
};

// scale·u above 0 and scale·slope·(eᵘ − 1) below.
template <class Constants>
struct ExponentialUnit : Curved {
  template <class A>
  static GANOPS_INLINE A value(A u, A) {
    const A below = A(Constants::scale * Constants::slope) * expm1_nonpositive(u <= 0 ? u : A(0));
    return u <= 0 ? below : A(Constants::scale) * u;
  }
  template <class A>
  static GANOPS_INLINE A first(A r, A) {
    return r <= 0 ? r + A(Constants::scale * Constants::slope) : A(Constants::scale);
  }
  template <class A>
  static GANOPS_INLINE A second(A r, A) {
    return r <= 0 ? A(1) : A(0);
  }
};
struct EluConstants {
  static constexpr double scale = 1, slope = 1;
};
struct SeluConstants {
  static constexpr double scale = 1.0507009873554804934193349852946, slope = 1.6732632423543772848170429916717;
};

// r = log(1 + eᵘ), hence σ(u) = 1 − e⁻ʳ.
struct SmoothRectified : Curved {
  template <class A>
  static GANOPS_INLINE A value(A u, A) {
    return Softplus::value(u);
  }
  template <class A>
  static GANOPS_INLINE A first(A r, A) {
    return -expm1_nonpositive(-r);
  }
  template <class A>
  static GANOPS_INLINE A second(A r, A) {
    return exponential_nonpositive(-r);
  }
};

// u·σ(u); here r = u.
struct Swish : Curved {
  static constexpr Kept kept = Kept::input;
  static constexpr double gain = 1.41421356237309504880;
  template <class A>
  static GANOPS_INLINE A value(A u, A) {
    return u * Softplus::first(u);
  }
  template <class A>
  static GANOPS_INLINE A first(A u, A) {
    return Softplus::first(u) * (1 + u * Softplus::first(-u));
  }
  template <class A>
  static GANOPS_INLINE A second(A u, A) {
    const A s = Softplus::first(u), rest = Softplus::first(-u);
    return s * rest * (2 + u * (rest - s));
  }
};

}  // namespace activations

// Calls f with the activation's functions, so that the choice is made once and not at every element.
template <class F>
GANOPS_INLINE void with_activation(Activation activation, F&& f) {
  switch (activation) {
    case Activation::linear:
      return f(activations::Identity{});
    case Activation::relu:
      return f(activations::Rectified{});
    case Activation::lrelu:
      return f(activations::Leaky{});
    case Activation::tanh:
      return f(activations::HyperbolicTangent{});
    case Activation::sigmoid:
      return f(activations::Logistic{});
    case Activation::elu:
      return f(activations::ExponentialUnit<activations::EluConstants>{});
    case Activation::selu:
      return f(activations::ExponentialUnit<activations::SeluConstants>{});
    case Activation::softplus:
      return f(activations::SmoothRectified{});
    case Activation::swish:
      return f(activations::Swish{});
  }
}

// The numbers of a call, for tensors of T. What backward reads is y as it was rounded, so that the limit is rounded too
// and a result at the limit counts as beyond it.
template <class T>
struct Gained {
  using A = Accumulate<T>;
  A alpha, gain, inverse, limit;

  explicit Gained(const BiasAct& how)
      : alpha(how.alpha),
        gain(how.gain),
        inverse(how.gain != 0 ? 1 / how.gain : 0),
        limit(widen(narrow<T>(static_cast<A>(how.clamp)))) {}

  GANOPS_INLINE bool beyond(A y) const { return absolute(y) >= limit; }

  template <class F>
  GANOPS_INLINE A value(F, A u) const {
    A y = gain * F::value(u, alpha);
    y = y > limit ? limit : y;
    return y < -limit ? -limit : y;
  }

  // `reference`: y, or u where that is kept.
  template <class F>
  GANOPS_INLINE bool clamped(F, A reference) const {
    if constexpr (F::kept == Kept::result) return beyond(reference);
    return beyond(widen(narrow<T>(gain * F::value(reference, alpha))));
  }
  template <class F>
  GANOPS_INLINE A slope(F f, A reference) const {
    const A s = gain * F::first(F::kept == Kept::result ? reference * inverse : reference, alpha);
    return clamped(f, reference) ? A(0) : s;
  }
  // ∂slope/∂reference.
  template <class F>
  GANOPS_INLINE A curvature(F f, A reference) const {
    const A s = F::kept == Kept::result ? F::second(reference * inverse, alpha) : gain * F::second(reference, alpha);
    return clamped(f, reference) ? A(0) : s;
  }
};

}  // namespace GANOPS_ISA
}  // namespace ganops
