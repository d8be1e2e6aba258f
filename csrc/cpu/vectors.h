// Vectors as wide as the instruction set has, where a loop's vectors must be written out: polyphase filters interleave
// and split them. GCC's and Clang's vector types: arithmetic is written with operators, and works lane by lane.
#pragma once

#include <utility>

#include "loops.h"

namespace ganops::cpu {
namespace GANOPS_ISA {
namespace {

#if defined(__AVX512F__)
constexpr int vector_bytes = 64;
#elif defined(__AVX__)
constexpr int vector_bytes = 32;
#else
constexpr int vector_bytes = 16;
#endif

// As many elements as a vector of floats or doubles (A) has lanes.
template <class A>
constexpr int lanes = vector_bytes / sizeof(A);

template <class E, int count>
struct VectorOf {
  typedef E type __attribute__((vector_size(count * sizeof(E))));
};
template <class A>
using Vec = typename VectorOf<A, lanes<A>>::type;
using Words = typename VectorOf<uint16_t, lanes<float>>::type;
using Integers = typename VectorOf<uint32_t, lanes<float>>::type;

template <class A>
GANOPS_INLINE Vec<A> broadcast(A x) {
  return x - Vec<A>{};  // exact, and no instruction
}

template <class V, class E>
GANOPS_INLINE V load_raw(const E* from) {
  V v;
  memcpy(&v, from, sizeof(V));
  return v;
}

// lanes<A> elements from an address of any alignment, in the accumulation type.
GANOPS_INLINE Vec<float> load(const float* from) { return load_raw<Vec<float>>(from); }
GANOPS_INLINE Vec<double> load(const double* from) { return load_raw<Vec<double>>(from); }
GANOPS_INLINE Vec<float> load(const BFloat16* from) {
  return (Vec<float>)(__builtin_convertvector(load_raw<Words>(from), Integers) << 16);
}
GANOPS_INLINE Vec<float> load(const Half* from) {  // see widen() in ../math/scalar.h
  const Integers raw = __builtin_convertvector(load_raw<Words>(from), Integers), magnitude = (raw & 0x7fff) << 13;
  const Integers scaled = (Integers)((Vec<float>)magnitude * 0x1p112f), sign = (raw & 0x8000) << 16;
  return (Vec<float>)(((raw & 0x7c00) == 0x7c00 ? magnitude | 0x7f800000 : scaled) | sign);
}

GANOPS_INLINE Vec<float> narrowed(const float*, Vec<float> v) { return v; }
GANOPS_INLINE Vec<double> narrowed(const double*, Vec<double> v) { return v; }
GANOPS_INLINE Words narrowed(const BFloat16*, Vec<float> v) {
  const Integers raw = (Integers)v, rounded = (raw + 0x7fff + ((raw >> 16) & 1)) >> 16;
  return __builtin_convertvector(v != v ? Integers{} + 0x7fc0 : rounded, Words);
}
GANOPS_INLINE Words narrowed(const Half*, Vec<float> v) {  // see Narrow<Half>
  const Integers raw = (Integers)v, sign = raw & 0x80000000, magnitude = raw ^ sign;
  const Integers normal = (magnitude + 0xc8000fff + ((magnitude >> 13) & 1)) >> 13;
  const Integers subnormal = (Integers)((Vec<float>)magnitude + 0.5f) - 0x3f000000;
  Integers result = magnitude < 0x38800000 ? subnormal : normal;
  result = magnitude >= 0x477ff000 ? Integers{} + 0x7c00 : result;
  result = magnitude > 0x7f800000 ? Integers{} + 0x7e00 : result;
  return __builtin_convertvector(result | (sign >> 16), Words);
}

// Stores the vector, rounded; `past` the caches only at an address that is a multiple of the vector stored.
template <class T, class V>
GANOPS_INLINE void store(T* to, V v, [[maybe_unused]] bool past = false) {
  const auto value = narrowed(to, v);
#if defined(__AVX512F__)
  if constexpr (sizeof(value) == 64) {
    if (past) return _mm512_stream_si512(reinterpret_cast<__m512i*>(to), (__m512i)value);
  }
#elif defined(__AVX__)
  if constexpr (sizeof(value) == 32) {
    if (past) return _mm256_stream_si256(reinterpret_cast<__m256i*>(to), (__m256i)value);
  }
#elif defined(__SSE2__)
  if constexpr (sizeof(value) == 16) {
    if (past) return _mm_stream_si128(reinterpret_cast<__m128i*>(to), (__m128i)value);
  }
#endif
  memcpy(to, &value, sizeof(value));
}

// The first `count` lanes.
template <class T, class V>
GANOPS_INLINE void store_some(T* to, V v, int64_t count) {
  const auto value = narrowed(to, v);
  memcpy(to, &value, count * sizeof(T));
}

// Asks for elements that will be read soon: the hardware looks ahead no further than a page of 4 KiB goes, which a sum
// of short rows is through with before the next page has come.
template <class T>
GANOPS_INLINE void prefetch(const T* from, int64_t count) {
  const char* line = reinterpret_cast<const char*>(from);
  for (int64_t i = 0; i < count * static_cast<int64_t>(sizeof(T)); i += 64) __builtin_prefetch(line + i);
}

// Whether rows of `row` elements that begin at `base` may be stored past the caches, vector by vector.
template <class T>
GANOPS_INLINE bool aligned_rows(const T* base, int64_t row) {
  return reinterpret_cast<uintptr_t>(base) % vector_bytes == 0 && row * sizeof(T) % vector_bytes == 0;
}

namespace shuffles {

template <class V, int... I>
GANOPS_INLINE V low(V a, V b, std::integer_sequence<int, I...>) {
  constexpr int n = sizeof...(I);
  return __builtin_shufflevector(a, b, (I / 2 + I % 2 * n)...);
}
template <class V, int... I>
GANOPS_INLINE V high(V a, V b, std::integer_sequence<int, I...>) {
  constexpr int n = sizeof...(I);
  return __builtin_shufflevector(a, b, (n / 2 + I / 2 + I % 2 * n)...);
}
template <int first, class V, int... I>
GANOPS_INLINE V every_second(V a, V b, std::integer_sequence<int, I...>) {
  return __builtin_shufflevector(a, b, (2 * I + first)...);
}

}  // namespace shuffles

template <class A>
using Places = std::make_integer_sequence<int, lanes<A>>;

// a[0], b[0], a[1], b[1], …: the first and the second half of it.
template <class A>
GANOPS_INLINE Vec<A> interleaved_low(Vec<A> a, Vec<A> b) {
  return shuffles::low(a, b, Places<A>{});
}
template <class A>
GANOPS_INLINE Vec<A> interleaved_high(Vec<A> a, Vec<A> b) {
  return shuffles::high(a, b, Places<A>{});
}
// Every second lane of a and then of b, from lane 0 or 1 on.
template <class A>
GANOPS_INLINE Vec<A> even_lanes(Vec<A> a, Vec<A> b) {
  return shuffles::every_second<0>(a, b, Places<A>{});
}
template <class A>
GANOPS_INLINE Vec<A> odd_lanes(Vec<A> a, Vec<A> b) {
  return shuffles::every_second<1>(a, b, Places<A>{});
}

// Σ over the lanes, in their order.
template <class A>
GANOPS_INLINE double sum_of_lanes(Vec<A> v) {
  double sum = 0;
  for (int i = 0; i < lanes<A>; ++i) sum += v[i];
  return sum;
}

}  // namespace
}  // namespace GANOPS_ISA
}  // namespace ganops::cpu
