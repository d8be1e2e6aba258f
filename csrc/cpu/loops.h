// The loops that every CPU kernel is made of: threads over chunks, vectors within a chunk.
//
// The division into chunks depends on the sizes alone, never on the number of threads, and partial sums are added in
// the order of the chunks. So a result is the same to the bit on any number of threads.
#pragma once

#include <cstdint>

#include "../kernels/common.h"
#include "../math/scalar.h"

#define GANOPS_SIMD _Pragma("omp simd")

namespace ganops::cpu {

// torch's own thread pool; defined in csrc/torch/parallel.cpp.
void parallel_for(int64_t begin, int64_t end, int64_t grain, void (*body)(int64_t, int64_t, void*), void* context);

namespace GANOPS_ISA {
namespace {

// Elements of a chunk: 16 KiB of floats, so that a chunk and its companions stay in the first-level cache.
constexpr int64_t chunk = 4096;

// Below this many elements (weighted by `cost`, the work at one of them) a second thread costs more than it saves.
constexpr int64_t serial = 32768;

GANOPS_INLINE int64_t chunks_of(int64_t count) { return (count + chunk - 1) / chunk; }
GANOPS_INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

// body(i) for each i in [0, count), in threads; `elements` is the work at one i.
template <class Body>
void parallel(int64_t count, int64_t elements, const Body& body) {
  const auto range = [](int64_t begin, int64_t end, void* context) {
    const Body& body = *static_cast<const Body*>(context);
    for (int64_t i = begin; i < end; ++i) body(i);
  };
  void* context = const_cast<void*>(static_cast<const void*>(&body));
  if (count * elements <= serial) {
    range(0, count, context);
  } else {
    parallel_for(0, count, (serial / 2 + elements - 1) / elements, range, context);
  }
}

// Σ term(i) for i in [0, count). Four sums side by side hide the latency of the addition.
template <class A, class Term>
GANOPS_INLINE A accumulate(int64_t count, const Term& term) {
  const int64_t quarter = count / 4;
  A a = 0, b = 0, c = 0, d = 0;
#pragma omp simd reduction(+ : a, b, c, d)
  for (int64_t i = 0; i < quarter; ++i) {
    a += term(i);
    b += term(quarter + i);
    c += term(2 * quarter + i);
    d += term(3 * quarter + i);
  }
  A sum = (a + b) + (c + d);
  for (int64_t i = 4 * quarter; i < count; ++i) sum += term(i);
  return sum;
}

// Calls f with a value of the element type.
template <class F>
GANOPS_INLINE void with_type(DType dtype, F&& f) {
  switch (dtype) {
    case DType::float32:
      return f(float{});
    case DType::float64:
      return f(double{});
    case DType::float16:
      return f(Half{});
    case DType::bfloat16:
      return f(BFloat16{});
  }
}

}  // namespace
}  // namespace GANOPS_ISA
}  // namespace ganops::cpu
