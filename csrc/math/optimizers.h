// Optimisers at one element: its weight p, gradient g, and up to three numbers that the optimiser keeps of it.
//
// Each rule has at(lr, t), what is the same for all elements of a tensor in its t-th step, and operator(), the step
// itself. `second` and `third` say which of b and c the rule has been asked to keep; a is always there.
#pragma once

#include "clip_weights.h"
#include "root.h"

namespace ganops {
inline namespace GANOPS_ISA {

GANOPS_INLINE float exponential_minus_one(float x) { return expm1f(x); }
GANOPS_INLINE double exponential_minus_one(double x) { return expm1(x); }

// 1 − βᵗ from log β (−∞ for β = 0): no cancellation while βᵗ is near 1.
template <class A>
GANOPS_INLINE A bias_correction(A log_beta, A t) {
  return -exponential_minus_one(log_beta * t);
}

// a/b. On the device within 2 ulp, without the branch for special cases that a division has: b is a root, whose range
// knows none. It is the size of a step, of which the last bits are lost in the weight.
GANOPS_INLINE float quotient(float a, float b) {
#ifdef __CUDA_ARCH__
  return __fdividef(a, b);
#else
  return a / b;
#endif
}
GANOPS_INLINE double quotient(double a, double b) { return a / b; }

// The limit for weights in a step of rate `lr`: with 0, which moves no weight, there is none.
template <class A>
GANOPS_INLINE A limit_of_step(A limit, A lr) {
  return lr == 0 ? A(INFINITY) : limit;
}

// What depends on the step, not on the element.
template <class A>
struct StepSize {
  A size, scale, keep;

  template <class B>
  GANOPS_INLINE StepSize<B> as() const {
    return {static_cast<B>(size), static_cast<B>(scale), static_cast<B>(keep)};
  }
};

// m ← β₁m + (1 − β₁)g,  v ← β₂v + (1 − β₂)g²,  p ← p − lr·m̂/(√v̂ + ε),  m̂ = m/(1 − β₁ᵗ),  v̂ = v/(1 − β₂ᵗ)
// (Kingma & Ba 2015); AMSGrad takes the largest v so far for v. a is m, b is v, c is the largest v.
// Weight decay joins the gradient, or (decoupled: AdamW) shrinks the weight.
template <class A>
struct Adam {
  A beta1, rest1, log_beta1, beta2, rest2, log_beta2, eps, sign, joining, shrinking, limit;

  template <class Settings>
  static Adam from(const Settings& s) {
    Adam rule;
    rule.beta1 = s.beta1, rule.rest1 = 1 - s.beta1, rule.log_beta1 = log(s.beta1);
    rule.beta2 = s.beta2, rule.rest2 = 1 - s.beta2, rule.log_beta2 = log(s.beta2);
    rule.eps = s.eps;
    rule.sign = s.maximize ? -1 : 1;
    rule.joining = s.decoupled ? 0 : s.decay;
    rule.shrinking = s.decoupled ? s.decay : 0;
    rule.limit = s.limit;
    return rule;
  }

  GANOPS_INLINE StepSize<A> at(A lr, A t) const {
    return {lr / bias_correction(log_beta1, t), 1 / square_root(bias_correction(log_beta2, t)), 1 - lr * shrinking};
  }

  GANOPS_INLINE A operator()(A p, A g, A& a, A& b, A& c, const StepSize<A>& step, bool, bool third) const {
    g = sign * g;
    g = joining != 0 ? g + joining * p : g;  // else an infinite weight would make it NaN
    a = beta1 * a + rest1 * g;
    b = beta2 * b + rest2 * (g * g);
    c = b > c || b != b ? b : c;
    const A root = square_root(third ? c : b) * step.scale + eps;
    return clip(p * step.keep - step.size * quotient(a, root), -limit, limit);
  }
};

// v ← αv + (1 − α)g²,  p ← p − lr·g/(√v + ε)  (Tieleman & Hinton 2012). Centred (Graves 2013): v less the square of the
// gradient's own average, for its variance; rounding may leave that below 0, which then counts as 0. With momentum a
// buffer gathers g/(√v + ε), and it is what the weight moves by. a is v, b the average, c the buffer (without momentum
// it is given as 0).
template <class A>
struct RMSprop {
  A alpha, rest, eps, sign, joining, momentum, limit;

  template <class Settings>
  static RMSprop from(const Settings& s) {
    RMSprop rule;
    rule.alpha = s.beta2, rule.rest = 1 - s.beta2;
    rule.eps = s.eps;
    rule.sign = s.maximize ? -1 : 1;
    rule.joining = s.decay;
    rule.momentum = s.momentum;
    rule.limit = s.limit;
    return rule;
  }

  GANOPS_INLINE StepSize<A> at(A lr, A) const { return {lr, 1, 1}; }

  GANOPS_INLINE A operator()(A p, A g, A& a, A& b, A& c, const StepSize<A>& step, bool second, bool) const {
    g = sign * g;
    g = joining != 0 ? g + joining * p : g;
    a = alpha * a + rest * (g * g);
    b = alpha * b + rest * g;
    const A variance = a - b * b;
    const A root = square_root(second ? (variance < 0 ? A(0) : variance) : a) + eps;
    c = momentum * c + quotient(g, root);
    return clip(p - step.size * c, -limit, limit);
  }
};

}  // namespace GANOPS_ISA
}  // namespace ganops
