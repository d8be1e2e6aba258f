// The adversarial losses at one logit.
//
// `kinds` is the table of kinds: what D minimises on a real and on a fake logit, what G minimises on a fake one. Each
// is outer · (base(u) + tilt·u), u = inner·x + offset, with one of the five bases below. A new kind is a new row and
// needs no new kernel.
#pragma once

#include "../kernels/adversarial_loss.h"
#include "scalar.h"

namespace ganops {
inline namespace GANOPS_ISA {

// sp(u) = log(1 + eᵘ), sp' = σ, sp'' = σ(1 − σ). All through e^−|u| ≤ 1: no overflow for any finite u.
//
// Σ sp(u) = Σ max(u, 0) + log Π(1 + e^−|u|), so that a sum needs one logarithm for many logits. The product is held as
// its distance s from 1, which loses nothing of small factors: (1 + s)(1 + e) = 1 + (s + e + s·e).
struct Softplus {
  template <class A>
  static GANOPS_INLINE A positive_part(A u) {
    return u < 0 ? A(0) : u;
  }
  template <class A>
  static GANOPS_INLINE A factor(A u) {
    return exponential_nonpositive(-absolute(u));
  }
  template <class A>
  static GANOPS_INLINE A product(A s, A e) {
    return s * e + (s + e);
  }
  template <class A>
  static GANOPS_INLINE A value(A u) {
    return positive_part(u) + log1p_unit(factor(u));
  }
  template <class A>
  static GANOPS_INLINE A first(A u) {
    const A e = factor(u);
    return (u < 0 ? e : A(1)) * reciprocal_unit(1 + e);
  }
  template <class A>
  static GANOPS_INLINE A second(A u) {
    const A e = factor(u);
    const A s = reciprocal_unit(1 + e);
    return e * s * s;
  }
};

// With labels: the cross-entropy with a target t is t·sp(−x) + (1 − t)·sp(x) = sp(−x) − (1 − t)·(−x) = sp(x) − t·x.
template <class A>
struct TiltedSoftplus {
  A tilt;

  GANOPS_INLINE A value(A u) const { return Softplus::value(u) + tilt * u; }
  GANOPS_INLINE A first(A u) const { return Softplus::first(u) + tilt; }
  GANOPS_INLINE A second(A u) const { return Softplus::second(u); }
};

struct Linear {
  template <class A>
  static GANOPS_INLINE A value(A u) {
    return u;
  }
  template <class A>
  static GANOPS_INLINE A first(A) {
    return 1;
  }
  template <class A>
  static GANOPS_INLINE A second(A) {
    return 0;
  }
};

struct Exponential {
  template <class A>
  static GANOPS_INLINE A value(A u) {
    return exponential(u);
  }
  template <class A>
  static GANOPS_INLINE A first(A u) {
    return exponential(u);
  }
  template <class A>
  static GANOPS_INLINE A second(A u) {
    return exponential(u);
  }
};

struct Square {
  template <class A>
  static GANOPS_INLINE A value(A u) {
    return u * u;
  }
  template <class A>
  static GANOPS_INLINE A first(A u) {
    return 2 * u;
  }
  template <class A>
  static GANOPS_INLINE A second(A) {
    return 2;
  }
};

// The comparisons are written so that NaN takes the branch that torch's relu gives it.
struct Relu {
  template <class A>
  static GANOPS_INLINE A value(A u) {
    return u <= 0 ? A(0) : u;
  }
  template <class A>
  static GANOPS_INLINE A first(A u) {
    return u <= 0 ? A(0) : A(1);
  }
  template <class A>
  static GANOPS_INLINE A second(A) {
    return 0;
  }
};

// Calls f with the base's functions, so that the choice is made once and not at every element.
template <class A, class F>
GANOPS_INLINE void with_base(Base base, A tilt, F&& f) {
  switch (base) {
    case Base::softplus:
      return tilt == 0 ? f(Softplus{}) : f(TiltedSoftplus<A>{tilt});
    case Base::linear:
      return f(Linear{});
    case Base::exponential:
      return f(Exponential{});
    case Base::square:
      return f(Square{});
    case Base::relu:
      return f(Relu{});
  }
}

// The same for kernels that know at compile time whether their logits are paired, which are never tilted: those kernels
// need the registers.
template <bool paired, class A, class F>
GANOPS_INLINE void with_base(Base base, A tilt, F&& f) {
  with_base(base, paired ? A(0) : tilt, f);
}

enum class Role : int { real, fake, generator, count };

// The formula of one role, outer · (base(u) + tilt·(p − label)·u) with u = inner·x + shift·p, where p is the parameter
// that the role takes (a target, a margin, a label). A role with shift = tilt = 0 takes none.
struct Formula {
  Base base;
  double outer, inner, shift, tilt = 0, label = 0;
};

// One row of the table. Paired: the formulas are of differences of logits, real's of r − f and the generator's of f −
// r.
struct Kind {
  const char* name;
  bool paired;
  Formula real, fake, generator;
};

constexpr Formula minus{Base::linear, -1, 1, 0}, plus{Base::linear, 1, 1, 0};
constexpr Formula softplus_minus{Base::softplus, 1, -1, 0}, labelled_one{Base::softplus, 1, -1, 0, 1, 1};
constexpr Formula labelled_zero{Base::softplus, 1, 1, 0, -1, 0};
constexpr Formula minus_softplus{Base::softplus, -1, 1, 0}, minus_exponential{Base::exponential, -1, 1, 0};
constexpr Formula squared_distance{Base::square, 1, 1, -1};
constexpr Formula below_margin{Base::relu, 1, -1, 1}, above_margin{Base::relu, 1, 1, 1};

// The table of kinds. A new kind is one row here and one in ganops/_common/loss_kinds.py, anywhere in either: Python
// asks the library for the rows (ganops_loss_kinds) and refuses a library whose formulas differ from its own.
constexpr Kind kinds[] = {
    {"minimax", false, labelled_one, labelled_zero, minus_softplus},
    {"non_saturating", false, labelled_one, labelled_zero, labelled_one},
    {"kl", false, labelled_one, labelled_zero, minus},
    {"mle", false, labelled_one, labelled_zero, minus_exponential},
    {"least_squares", false, squared_distance, squared_distance, squared_distance},
    {"hinge", false, below_margin, above_margin, minus},
    {"wasserstein", false, minus, plus, minus},
    {"relativistic", true, softplus_minus, softplus_minus, softplus_minus},
};
constexpr int64_t kind_count = sizeof(kinds) / sizeof(kinds[0]);

inline const Formula& formula(const Kind& kind, Role role) {
  return role == Role::real ? kind.real : role == Role::fake ? kind.fake : kind.generator;
}

inline Term term(const Kind& kind, Role role, double p) {
  const Formula& f = formula(kind, role);
  return {f.base, f.outer, f.inner, f.shift * p, f.tilt * (p - f.label)};
}

}  // namespace GANOPS_ISA
}  // namespace ganops
