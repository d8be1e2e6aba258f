// The adversarial losses at one logit.
//
// `term` is the table of kinds: what D minimises on a real and on a fake logit, what G minimises on a fake one. Each is
// outer · base(inner·x + offset) with one of the five bases below; a new kind is a new row, and a new kernel never.
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
  static GANOPS_INLINE A first(A u, A e) {
    return (u < 0 ? e : A(1)) * reciprocal_unit(1 + e);
  }
  template <class A>
  static GANOPS_INLINE A first(A u) {
    return first(u, factor(u));
  }
  template <class A>
  static GANOPS_INLINE A second(A u) {
    const A e = factor(u);
    const A s = reciprocal_unit(1 + e);
    return e * s * s;
  }
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
template <class F>
GANOPS_INLINE void with_base(Base base, F&& f) {
  switch (base) {
    case Base::softplus:
      return f(Softplus{});
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

// The base of terms at differences of paired logits: the softplus is the only one that a kind takes.
template <bool paired, class F>
GANOPS_INLINE void with_base(Base base, F&& f) {
  if constexpr (paired) {
    f(Softplus{});
  } else {
    with_base(base, f);
  }
}

// The order is that of KINDS in ganops/reference/adversarial_loss.py.
enum class Kind : int { minimax, non_saturating, kl, mle, least_squares, hinge, wasserstein, relativistic, count };
enum class Role : int { real, fake, generator, count };

// The parameter that a role takes if none is named: least squares' targets 1, 0 and 1, the hinge's margin 1.
inline double own_parameter(Kind kind, Role role) { return kind == Kind::least_squares && role == Role::fake ? 0 : 1; }

// Whether the kind's terms are at the differences of logits: real's at r − f, the generator's at f − r.
inline bool is_paired(Kind kind) { return kind == Kind::relativistic; }

// `p` is the parameter that the role takes: a target, or the margin.
inline Term term(Kind kind, Role role, double p) {
  struct Row {
    Term real, fake, generator;
  };
  const Term plus{Base::linear, 1, 1, 0}, minus{Base::linear, -1, 1, 0};
  const Term logistic_real{Base::softplus, 1, -1, 0}, logistic_fake{Base::softplus, 1, 1, 0};
  const Term logistic_saturating{Base::softplus, -1, 1, 0}, odds{Base::exponential, -1, 1, 0};
  const Term distance{Base::square, 1, 1, -p};
  const Term hinge_real{Base::relu, 1, -1, p}, hinge_fake{Base::relu, 1, 1, p};

  const Row table[static_cast<int>(Kind::count)] = {
      /* minimax        */ {logistic_real, logistic_fake, logistic_saturating},
      /* non_saturating */ {logistic_real, logistic_fake, logistic_real},
      /* kl             */ {logistic_real, logistic_fake, minus},
      /* mle            */ {logistic_real, logistic_fake, odds},
      /* least_squares  */ {distance, distance, distance},
      /* hinge          */ {hinge_real, hinge_fake, minus},
      /* wasserstein    */ {minus, plus, minus},
      /* relativistic   */ {logistic_real, logistic_real, logistic_real},
  };
  const Row& row = table[static_cast<int>(kind)];
  return role == Role::real ? row.real : role == Role::fake ? row.fake : row.generator;
}

}  // namespace GANOPS_ISA
}  // namespace ganops
