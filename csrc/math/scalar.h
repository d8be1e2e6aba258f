// Scalar types and elementary functions that host and device code share.
//
// On the device, and where the device is emulated, the elementary functions are those of the CUDA maths library. On the
// CPU they are branch-free polynomials, which a compiler turns into vector code; library calls it could not.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#if defined(__CUDACC__)
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#define GANOPS_INLINE __host__ __device__ __forceinline__
#else
#define GANOPS_INLINE inline __attribute__((always_inline))
#endif

#if defined(__CUDACC__) || defined(GANOPS_EMULATED)
#define GANOPS_DEVICE_MATH 1
#endif

// CPU sources are compiled once per instruction set. Each copy lives in a namespace of its own, or else the linker
// would keep one of them for all.
#ifndef GANOPS_ISA
#define GANOPS_ISA common
#endif

namespace ganops {
inline namespace GANOPS_ISA {

template <class To, class From>
GANOPS_INLINE To bits(From value) {
  static_assert(sizeof(To) == sizeof(From), "the same number of bits");
  To result;
  memcpy(&result, &value, sizeof(To));
  return result;
}

struct Half {
  uint16_t bits;
};

struct BFloat16 {
  uint16_t bits;
};

// The type in which sums are held: float for float and below, double for double.
template <class T>
struct AccumulateType {
  using type = float;
};
template <>
struct AccumulateType<double> {
  using type = double;
};
template <class T>
using Accumulate = typename AccumulateType<T>::type;

GANOPS_INLINE float widen(float x) { return x; }
GANOPS_INLINE double widen(double x) { return x; }

GANOPS_INLINE float widen(BFloat16 x) { return bits<float>(static_cast<uint32_t>(x.bits) << 16); }

GANOPS_INLINE float widen(Half x) {
#ifdef __CUDA_ARCH__
  return __half2float(bits<__half>(x.bits));
#else
  // Shift exponent and mantissa into place; the product corrects the bias and is exact for subnormals too.
  const uint32_t magnitude = (x.bits & 0x7fffu) << 13;
  const float scaled = bits<float>(magnitude) * 0x1p112f;
  const uint32_t special = (x.bits & 0x7c00u) == 0x7c00u ? (magnitude | 0x7f800000u) : bits<uint32_t>(scaled);
  return bits<float>(special | (static_cast<uint32_t>(x.bits & 0x8000u) << 16));
#endif
}

// Rounds to nearest, ties to even, as torch does.
template <class T>
struct Narrow;
template <>
struct Narrow<float> {
  static GANOPS_INLINE float from(float x) { return x; }
};
template <>
struct Narrow<double> {
  static GANOPS_INLINE double from(double x) { return x; }
};
template <>
struct Narrow<BFloat16> {
  static GANOPS_INLINE BFloat16 from(float x) {
#ifdef __CUDA_ARCH__
    return bits<BFloat16>(__float2bfloat16_rn(x));
#else
    const uint32_t raw = bits<uint32_t>(x);
    const uint32_t rounded = (raw + 0x7fffu + ((raw >> 16) & 1u)) >> 16;
    return {static_cast<uint16_t>(x != x ? 0x7fc0u : rounded)};
#endif
  }
};
template <>
struct Narrow<Half> {
  static GANOPS_INLINE Half from(float x) {
#ifdef __CUDA_ARCH__
    return bits<Half>(__float2half_rn(x));
#else
    const uint32_t raw = bits<uint32_t>(x);
    const uint32_t sign = raw & 0x80000000u;
    const uint32_t magnitude = raw ^ sign;
    // Normal range: rebias the exponent and round on the 13 bits that go. From 65520 the result is infinite.
    const uint32_t normal = (magnitude + 0xc8000fffu + ((magnitude >> 13) & 1u)) >> 13;
    // Below 2^-14: adding 1/2 lets the adder align and round the bits.
    const uint32_t subnormal = bits<uint32_t>(bits<float>(magnitude) + 0.5f) - 0x3f000000u;
    uint32_t result = magnitude < 0x38800000u ? subnormal : normal;
    result = magnitude >= 0x477ff000u ? 0x7c00u : result;
    result = magnitude > 0x7f800000u ? 0x7e00u : result;
    return {static_cast<uint16_t>(result | (sign >> 16))};
#endif
  }
};
template <class T>
GANOPS_INLINE T narrow(Accumulate<T> x) {
  return Narrow<T>::from(x);
}

// A long sum of doubles that loses nothing to its length (Neumaier): the partial sums of a reduction end in one.
struct LongSum {
  double sum = 0, lost = 0;

  GANOPS_INLINE void add(double x) {
    const double next = sum + x;
    const bool larger = (sum < 0 ? -sum : sum) >= (x < 0 ? -x : x);
    lost += larger ? (sum - next) + x : (x - next) + sum;
    sum = next;
  }
  // Infinities make the remainder NaN; the sum itself is then the answer.
  GANOPS_INLINE double value() const { return lost - lost == 0 ? sum + lost : sum; }
};

GANOPS_INLINE float absolute(float x) { return fabsf(x); }
GANOPS_INLINE double absolute(double x) { return fabs(x); }

#ifdef GANOPS_DEVICE_MATH

// 1/d for d in [1, 2]. On the device without the branch for special cases that a division has.
GANOPS_INLINE float reciprocal_unit(float d) {
#ifdef __CUDA_ARCH__
  return __fdividef(1.f, d);
#else
  return 1 / d;
#endif
}
GANOPS_INLINE double reciprocal_unit(double d) {
#ifdef __CUDA_ARCH__
  // Newton's step doubles the correct bits: 22, 44, and the third ends at the last.
  double y = __fdividef(1.f, static_cast<float>(d));
  y = y * (2 - d * y);
  y = y * (2 - d * y);
  return y + y * (1 - d * y);
#else
  return 1 / d;
#endif
}

GANOPS_INLINE float exponential(float x) { return expf(x); }
GANOPS_INLINE double exponential(double x) { return exp(x); }
GANOPS_INLINE float exponential_nonpositive(float x) { return expf(x); }
GANOPS_INLINE double exponential_nonpositive(double x) { return exp(x); }
GANOPS_INLINE float log1p_unit(float y) { return log1pf(y); }
GANOPS_INLINE double log1p_unit(double y) { return log1p(y); }

#else

template <class A>
struct Format;
template <>
struct Format<float> {
  using Bits = int32_t;
  static constexpr int mantissa = 23, bias = 127;
  static constexpr float round = 0x1.8p23f, lowest = -104.f, highest = 89.f;
  static constexpr float ln2_high = 0x1.62e4p-1f, ln2_low = 0x1.7f7d1cp-20f;
  static constexpr float exp[] = {
      1.f, 1.000000038f, 0.5000000047f, 0.166664155f, 0.04166635287f, 0.008375127947f, 0.001394111037f};
  static constexpr float log1p[] = {
      1.f,          -0.4999989265f,  0.333297105f,   -0.2495161626f,  0.1966327426f, -0.1526966707f,
      0.105436238f, -0.05637361283f, 0.01954252726f, -0.003176057018f};
  // 1/d ≈ p(d) with 1 − d·p(d) = T₃(3 − 2d)/T₃(3), Chebyshev's polynomial: 1 % off; Newton's steps square that.
  static constexpr float reciprocal[] = {210.f / 99, -144.f / 99, 32.f / 99};
  static constexpr int newton = 2;
};
template <>
struct Format<double> {
  using Bits = int64_t;
  static constexpr int mantissa = 52, bias = 1023;
  static constexpr double round = 0x1.8p52, lowest = -746., highest = 710.;
  static constexpr double ln2_high = 0x1.62e42feep-1, ln2_low = 0x1.a39ef35793c76p-33;
  static constexpr double exp[] = {1.,
                                   1.,
                                   0.5,
                                   0.1666666666666670242,
                                   0.0416666666666666922,
                                   0.008333333333309523555,
                                   0.00138888888888718857,
                                   0.0001984126990922464589,
                                   0.00002480158735011618305,
                                   2.755722495141354736e-6,
                                   2.755725189919127497e-7,
                                   2.511487185281294884e-8,
                                   2.0921581624586567e-9};
  static constexpr double log1p[] = {
      1.,
      -0.499999999999999701,
      0.333333333333280501,
      -0.249999999996271555,
      0.199999999859843131,
      -0.16666666341888502,
      0.142857092206460805,
      -0.12499943655343673,
      0.11110645369441435,
      -0.0999705228766596702,
      0.0907629653477789814,
      -0.0827558648415950073,
      0.0750779240195603247,
      -0.0666047052801388773,
      0.056236352954791616,
      -0.0436408781412111784,
      0.0299372107385098119,
      -0.0174303282915171523,
      0.00824754528791318488,
      -0.00301272519099497279,
      0.000791112094334202532,
      -0.000132207521713007561,
      0.0000105231354812716999,
  };
  // The same with T₄: 1/577 off.
  static constexpr double reciprocal[] = {1632. / 577, -1696. / 577, 768. / 577, -128. / 577};
  static constexpr int newton = 3;
};

// coefficients[0] + coefficients[1]·x + …
template <class A, int terms>
GANOPS_INLINE A polynomial(const A (&coefficients)[terms], A x) {
  A p = coefficients[terms - 1];
#pragma GCC unroll 32
  for (int n = terms - 2; n >= 0; --n) p = p * x + coefficients[n];
  return p;
}

// 1/d for d in [1, 2]: a division costs a vector unit more than all of this.
template <class A>
GANOPS_INLINE A reciprocal_unit(A d) {
  A y = polynomial(Format<A>::reciprocal, d);
#pragma GCC unroll 4
  for (int n = 0; n < Format<A>::newton; ++n) y = y + y * (1 - d * y);
  return y;
}

// x = k·ln 2 + r with |r| ≤ ½ ln 2; eʳ by its Chebyshev fit (error 2e-9, 4e-20).
template <class A>
struct Reduced {
  typename Format<A>::Bits k;
  A exp_r;

  GANOPS_INLINE explicit Reduced(A x) {
    using F = Format<A>;
    using B = typename F::Bits;
    const A rounded = x * A(1.44269504088896340736) + F::round;  // k sits in the low bits
    const A whole = rounded - F::round;
    k = bits<B>(rounded) - bits<B>(F::round);
    exp_r = polynomial(F::exp, (x - whole * F::ln2_high) - whole * F::ln2_low);
  }
};

// 2ᵏ for k in the range of normal numbers.
template <class A>
GANOPS_INLINE A power_of_two(typename Format<A>::Bits k) {
  using F = Format<A>;
  return bits<A>(static_cast<typename F::Bits>((k + F::bias) << F::mantissa));
}

// eˣ within 1 ulp; overflows to infinity, underflows gradually to 0. 2ᵏ is taken in two factors, for k may exceed the
// exponent's range at both ends.
template <class A>
GANOPS_INLINE A exponential(A x) {
  A y = x < Format<A>::lowest ? Format<A>::lowest : x;
  y = y > Format<A>::highest ? Format<A>::highest : y;
  const Reduced<A> e(y);
  const auto half = e.k >> 1;
  return e.exp_r * power_of_two<A>(half) * power_of_two<A>(e.k - half);
}

// The same for x ≤ 0, where a constant factor is enough.
template <class A>
GANOPS_INLINE A exponential_nonpositive(A x) {
  constexpr int shift = Format<A>::bias / 2;
  const Reduced<A> e(x < Format<A>::lowest ? Format<A>::lowest : x);
  return e.exp_r * power_of_two<A>(e.k + shift) * power_of_two<A>(-shift);
}

// log(1 + y) for y in [0, 1], as y times the Chebyshev fit of log(1 + y)/y on that interval (error 5e-9, 3e-19): a
// longer polynomial than that of the logarithm's usual reduction, but without its division, which alone would cost
// more.
template <class A>
GANOPS_INLINE A log1p_unit(A y) {
  return polynomial(Format<A>::log1p, y) * y;
}

#endif

}  // namespace GANOPS_ISA
}  // namespace ganops
