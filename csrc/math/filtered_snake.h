// An anti-aliased Snake: y = D φ(U x), where U brings a signal of T elements to a grid `ratio` times as fine, φ acts on
// each point of it, and D brings it back. Both repeat the sample at the edge beyond it.
//
//     u[m] = r·Σ_k f[k]·x[(m + a − k)/r]   over the k that r divides m + a − k by, a = ⌊(K − r)/2⌋, m in [0, rT)
//     φ(u) = u + q·sin²(αu)
//     y[t] = Σ_k f[k]·φ(u[r·t + k − b])    b = ⌊(K − 1)/2⌋
//
// Point r·t + s of the fine grid is place t of phase s. In each phase U and D are filters over neighbouring places: a
// branch. Their adjoints are the same branches turned round, with zeros beyond the edges, and what the repeated sample
// took part in added to the edge.
#pragma once

#include "scalar.h"

namespace ganops {
inline namespace GANOPS_ISA {

// Σ_j f[tap + j·step]·(element first + j), for `count` neighbours of a place.
struct Branch {
  int first, count, tap, step;

  GANOPS_INLINE Branch adjoint() const { return {-(first + count - 1), count, tap + (count - 1) * step, -step}; }
};

GANOPS_INLINE int taps_of_phase(int tap, int taps, int ratio) { return tap < taps ? (taps - 1 - tap) / ratio + 1 : 0; }

GANOPS_INLINE int up_centre(int taps, int ratio) { return (taps - ratio) >> 1; }
GANOPS_INLINE int down_centre(int taps) { return (taps - 1) / 2; }

// Phase s of the fine grid as a sum over x.
GANOPS_INLINE Branch up_branch(int s, int taps, int ratio) {
  const int place = s + up_centre(taps, ratio), tap = (place + ratio) % ratio, count = taps_of_phase(tap, taps, ratio);
  return {(place - tap) / ratio - (count - 1), count, tap + (count - 1) * ratio, -ratio};
}

// The part of y that is a sum over phase s.
GANOPS_INLINE Branch down_branch(int s, int taps, int ratio) {
  const int place = s + down_centre(taps), tap = place % ratio;
  return {(tap - place) / ratio, taps_of_phase(tap, taps, ratio), tap, ratio};
}

// Σ f[k] over k = first, first + step, … within [0, taps).
template <class A>
GANOPS_INLINE A sum_of_taps(const A* f, int taps, int first, int step) {
  A sum = 0;
  for (int k = first; k >= 0 && k < taps; k += step) sum += f[k];
  return sum;
}

// What the adjoints add at the edges. Of D: g[t] to the first point of the fine grid; g[T − 1 − e] to the last.
template <class A>
GANOPS_INLINE A down_before(const A* f, int taps, int ratio, int t) {
  return sum_of_taps(f, taps, down_centre(taps) - ratio * t - 1, -1);
}
template <class A>
GANOPS_INLINE A down_after(const A* f, int taps, int ratio, int e) {
  return sum_of_taps(f, taps, ratio * (e + 1) + down_centre(taps), 1);
}
// Entries of U without its factor r: point m of the fine grid to x[0], and point r·T − 1 − e to x[T − 1].
template <class A>
GANOPS_INLINE A up_before(const A* f, int taps, int ratio, int m) {
  return sum_of_taps(f, taps, m + up_centre(taps, ratio) + ratio, ratio);
}
template <class A>
GANOPS_INLINE A up_after(const A* f, int taps, int ratio, int e) {
  return sum_of_taps(f, taps, up_centre(taps, ratio) - 1 - e, -ratio);
}

// c₀ + z·(c₁ + z·(…)). V: an element, or on the CPU a vector of them.
template <class V, class A>
GANOPS_INLINE V horner(V, A c) {
  return c - V{};
}
template <class V, class A, class... More>
GANOPS_INLINE V horner(V z, A c, More... more) {
  return horner(z, more...) * z + c;
}

// π in three parts, of which the first two have few bits: n times these is exact for the n that matter. Chebyshev fits
// of (sin(√z)/√z − 1)/z and (cos √z − 1)/z for z in [0, (π/2)²]: errors 7e-9 and 4e-10; 3e-19 and 6e-18.
template <class A>
struct SineFit;
template <>
struct SineFit<float> {
  static constexpr float round = 0x1.8p23f, inverse_pi = 0.318309886f;
  static constexpr float pi_high = 0x1.92p+1f, pi_middle = 0x1.fb4p-11f, pi_low = 0x1.4442d2p-23f;
  template <class V>
  static GANOPS_INLINE V sine(V z) {
    return horner(z, -0.1666666596f, 0.008333242108f, -0.0001982273584f, 2.634744556e-6f);
  }
  template <class V>
  static GANOPS_INLINE V cosine(V z) {
    return horner(z, -0.4999999996f, 0.04166665936f, -0.001388865158f, 0.00002477457442f, -2.629739420e-7f);
  }
};
template <>
struct SineFit<double> {
  static constexpr double round = 0x1.8p52, inverse_pi = 0.31830988618379067154;
  static constexpr double pi_high = 0x1.921fb54p+1, pi_middle = 0x1.10b461p-29, pi_low = 0x1.a62633145c06ep-57;
  template <class V>
  static GANOPS_INLINE V sine(V z) {
    return horner(z, -0.1666666666666666663, 0.008333333333333315857, -0.0001984126984125496488,
                  2.755731921916083259e-6, -2.505210761669044982e-8, 1.60589772926427429e-10, -7.643969663988074354e-13,
                  2.731436876937989187e-15);
  }
  template <class V>
  static GANOPS_INLINE V cosine(V z) {
    return horner(z, -0.4999999999999999936, 0.04166666666666633543, -0.001388888888886069286, 0.0000248015872924416638,
                  -2.755731776674131912e-7, 2.087663082987220042e-9, -1.146468868690101245e-11,
                  4.627661038005169494e-14);
  }
};

// t − nπ in [−π/2, π/2]. sin², and sine times cosine, do not depend on n. Beyond the t whose own rounding leaves
// nothing of its angle, some number within these bounds; NaN for infinities and NaN.
template <class A, class V>
GANOPS_INLINE V reduced_angle(V t) {
  using F = SineFit<A>;
  const V n = (t * F::inverse_pi + F::round) - F::round;
  const V r = ((t - n * F::pi_high) - n * F::pi_middle) - n * F::pi_low;
  const V bound = A(1.5707963267948966) - V{}, above = r > bound ? bound : r;
  return above < -bound ? -bound : above;
}

template <class A, class V>
GANOPS_INLINE V sine_of_reduced(V r, V z) {
  return r + r * (z * SineFit<A>::sine(z));
}
template <class A, class V>
GANOPS_INLINE V cosine_of_reduced(V z) {
  return z * SineFit<A>::cosine(z) + A(1);
}

// α and q of a channel, the same in each lane.
template <class V>
struct SnakeParameters {
  V alpha, q;
};

template <class A, class V>
GANOPS_INLINE V snake(const SnakeParameters<V>& p, V u) {
  const V r = reduced_angle<A>(p.alpha * u), s = sine_of_reduced<A>(r, r * r);
  return u + p.q * (s * s);
}

// The derivatives of φ: by u 1 + αq·sin 2αu, by α qu·sin 2αu, and by q `square` = sin² αu; `twice` = sin 2αu.
template <class A, class V>
struct SnakeSlopes {
  V square, twice;

  GANOPS_INLINE SnakeSlopes(const SnakeParameters<V>& p, V u) {
    const V r = reduced_angle<A>(p.alpha * u), z = r * r, s = sine_of_reduced<A>(r, z);
    square = s * s, twice = A(2) * s * cosine_of_reduced<A>(z);
  }
  GANOPS_INLINE V by_u(const SnakeParameters<V>& p) const { return p.alpha * p.q * twice + A(1); }
};

// Along a direction (w, a, b) of (u, α, q), with z = αw + ua that of the angle αu, the derivative of φ, and its own
// derivatives by u, α and q:
//     φ̇ = w + q·z·sin 2αu + b·sin² αu,   αe + fa,   ue + fw,   z·sin 2αu   with e = 2qz·cos 2αu + b·sin 2αu, f = q·sin
//     2αu
template <class A, class V>
struct SnakeCurvature {
  V along, by_u, by_alpha, by_q;

  GANOPS_INLINE SnakeCurvature(const SnakeParameters<V>& p, const SnakeParameters<V>& direction, V u, V w) {
    const SnakeSlopes<A, V> slopes(p, u);
    const V a = direction.alpha, b = direction.q, z = p.alpha * w + u * a, f = p.q * slopes.twice;
    const V cosine = A(1) - A(2) * slopes.square, e = A(2) * p.q * z * cosine + b * slopes.twice;
    along = w + f * z + b * slopes.square;
    by_u = p.alpha * e + f * a;
    by_alpha = u * e + f * w;
    by_q = z * slopes.twice;
  }
};

}  // namespace GANOPS_ISA
}  // namespace ganops
