// The loops that every CPU kernel is made of: threads over chunks, vectors within a chunk.
//
// The division into chunks depends on the sizes alone, never on the number of threads, and partial sums are added in
// the order of the chunks. So a result is the same to the bit on any number of threads.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "../kernels/common.h"
#include "../math/scalar.h"

#define GANOPS_SIMD _Pragma("omp simd")

namespace ganops::cpu {

// torch's own thread pool; defined in csrc/torch/parallel.cpp.
void parallel_for(int64_t begin, int64_t end, int64_t grain, void (*body)(int64_t, int64_t, void*), void* context);

// Results of at least this many bytes, the size of the last-level cache, are written with non-temporal stores: the next
// reader will not find them in the cache anyway, and the lines are not read before they are written. A smaller result
// stays in the cache, since the next operator reads it. Defined in isa.cpp.
extern const int64_t past_cache;

namespace GANOPS_ISA {
namespace {

// Elements of a chunk: 16 KiB of floats, so that a chunk and its companions stay in the first-level cache.
constexpr int64_t chunk = 4096;

// Below this many elements (weighted by `cost`, the work at one of them) a second thread costs more than it saves.
constexpr int64_t serial = 32768;

// Stores past the caches wait in buffers of the core; after this they are visible to other threads.
GANOPS_INLINE void finish_stores() {
#if defined(__x86_64__)
  _mm_sfence();
#endif
}

// memcpy past the caches.
GANOPS_INLINE void stream(void* to, const void* from, int64_t bytes) {
#if defined(__x86_64__)
#if defined(__AVX512F__)
  using Vector = __m512i;
  const auto store = [](void* p, const void* q) { _mm512_stream_si512((Vector*)p, _mm512_loadu_si512(q)); };
#elif defined(__AVX__)
  using Vector = __m256i;
  const auto store = [](void* p, const void* q) { _mm256_stream_si256((Vector*)p, _mm256_loadu_si256((Vector*)q)); };
#else
  using Vector = __m128i;
  const auto store = [](void* p, const void* q) { _mm_stream_si128((Vector*)p, _mm_loadu_si128((Vector*)q)); };
#endif
  constexpr int64_t width = sizeof(Vector);
  char* out = static_cast<char*>(to);
  const char* in = static_cast<const char*>(from);
  const int64_t unaligned = -reinterpret_cast<intptr_t>(out) & (width - 1),
                head = bytes < unaligned ? bytes : unaligned;
  memcpy(out, in, head);
  int64_t i = head;
  for (; i + width <= bytes; i += width) store(out + i, in + i);
  memcpy(out + i, in + i, bytes - i);
#else
  memcpy(to, from, bytes);
#endif
}

GANOPS_INLINE int64_t chunks_of(int64_t count) { return (count + chunk - 1) / chunk; }
GANOPS_INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

// body(i) for each i in [0, count), in threads; `elements` is the work at one i.
template <class Body>
void parallel(int64_t count, int64_t elements, const Body& body) {
  const auto range = [](int64_t begin, int64_t end, void* context) {
    const Body& body = *static_cast<const Body*>(context);
    for (int64_t i = begin; i < end; ++i) body(i);
    finish_stores();
  };
  void* context = const_cast<void*>(static_cast<const void*>(&body));
  if (count * elements <= serial) {
    range(0, count, context);
  } else {
    parallel_for(0, count, (serial / 2 + elements - 1) / elements, range, context);
  }
}

// out[i] = value(i) for i in [0, count), where `written` elements are written in all by this call of the kernel.
template <class T, class Value>
GANOPS_INLINE void store(T* out, int64_t count, int64_t written, const Value& value) {
  constexpr int64_t block = 1024;
  const bool past = written * static_cast<int64_t>(sizeof(T)) >= past_cache && count >= block / 4;
  alignas(64) T buffer[block];
  for (int64_t begin = 0; begin < count; begin += block) {
    const int64_t length = smaller(block, count - begin);
    T* to = past ? buffer : out + begin;
    GANOPS_SIMD
    for (int64_t i = 0; i < length; ++i) to[i] = narrow<T>(value(begin + i));
    if (past) stream(out + begin, buffer, length * sizeof(T));
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
