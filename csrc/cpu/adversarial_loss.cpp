// Adversarial losses on the CPU. The segments' chunks form one list that the threads share; a chunk of a sum leaves a
// partial sum in the workspace, added up in order at the end.
#include "../math/adversarial_loss.h"

#include <type_traits>

#include "loops.h"

namespace ganops::cpu::GANOPS_ISA {
namespace {

int64_t total_chunks(const LossSegments& segments) {
  int64_t total = 0;
  for (int s = 0; s < segments.count; ++s) total += chunks_of(segments.segment[s].count);
  return total;
}

int64_t total_count(const LossSegments& segments) {
  int64_t total = 0;
  for (int s = 0; s < segments.count; ++s) total += segments.segment[s].count;
  return total;
}

// Calls f with the function of i that is the i-th number from `begin` on: a logit or tangent, or the difference of two.
template <bool paired, class T, class F>
GANOPS_INLINE void with_numbers(const void* one, const void* other, int64_t begin, const F& f) {
  using A = Accumulate<T>;
  const T* x = static_cast<const T*>(one) + begin;
  if constexpr (paired) {
    const T* y = static_cast<const T*>(other) + begin;
    f([=](int64_t i) { return A(widen(x[i])) - A(widen(y[i])); });
  } else {
    f([=](int64_t i) { return A(widen(x[i])); });
  }
}

// outᵢ = value(i) in the chunk of a segment that begins there; to the partner with the other sign.
template <bool paired, class T, class Value>
GANOPS_INLINE void write(const LossSegments& segments, const LossSegment& segment, int64_t begin, int64_t length,
                         const Value& value) {
  T* out = static_cast<T*>(segment.out) + begin;
  if constexpr (paired) {
    T* opposite = static_cast<T*>(segments.segment[1].out) + begin;
    GANOPS_SIMD
    for (int64_t i = 0; i < length; ++i) {
      const auto y = value(i);
      out[i] = narrow<T>(y);
      opposite[i] = narrow<T>(-y);
    }
  } else {
    store(out, length, total_count(segments), value);
  }
}

// Calls f with whether the segments are paired, known to the compiler.
template <class F>
void with_pairing(const LossSegments& segments, const F& f) {
  segments.paired ? f(std::true_type()) : f(std::false_type());
}

// body(segment, begin, length, index) for every chunk of every segment.
template <class Body>
void for_chunks(const LossSegments& segments, const Body& body) {
  const int64_t first = chunks_of(segments.segment[0].count);
  parallel(total_chunks(segments), chunk, [&](int64_t index) {
    const LossSegment& segment = segments.segment[index < first ? 0 : 1];
    const int64_t begin = (index < first ? index : index - first) * chunk;
    body(segment, begin, smaller(chunk, segment.count - begin), index);
  });
}

// Σ base(argument(i)) for i in [0, count).
template <class A, class Base, class Argument>
GANOPS_INLINE double sum_of(Base base, int64_t count, const Argument& argument) {
  return accumulate<A>(count, [=](int64_t i) { return base.value(argument(i)); });
}

// Lane by lane: a lane takes part in at most chunk/lanes = 64 products, each of a factor of at most 2, and eight lanes
// in one of their doubles. 2^512 is in its range.
template <class A, class Argument>
GANOPS_INLINE double sum_of(Softplus base, int64_t count, const Argument& argument) {
  constexpr int64_t lanes = 64, logarithms = 8;
  static_assert(chunk / lanes <= 64, "the product of a lane must stay finite in float");
  A linear[lanes] = {}, product[lanes] = {};
  int64_t row = 0;
  for (; row + lanes <= count; row += lanes) {
    GANOPS_SIMD
    for (int64_t lane = 0; lane < lanes; ++lane) {
      const A u = argument(row + lane);
      linear[lane] += base.positive_part(u);
      product[lane] = base.product(product[lane], base.factor(u));
    }
  }
  GANOPS_SIMD
  for (int64_t lane = 0; lane < count - row; ++lane) {
    const A u = argument(row + lane);
    linear[lane] += base.positive_part(u);
    product[lane] = base.product(product[lane], base.factor(u));
  }
  double joined[logarithms] = {}, sum[logarithms] = {};
  for (int64_t lane = 0; lane < lanes; lane += logarithms) {
    GANOPS_SIMD
    for (int64_t i = 0; i < logarithms; ++i) {
      joined[i] = base.product(joined[i], double(product[lane + i]));
      sum[i] += linear[lane + i];
    }
  }
  double result = 0;
  for (int64_t i = 0; i < logarithms; ++i) result += sum[i] + std::log1p(joined[i]);
  return result;
}

// Σₛ scale Σᵢ of what `partial` left in the workspace for each chunk.
double combine(const LossSegments& segments, const double* partial) {
  double result = 0;
  for (int s = 0; s < segments.count; ++s) {
    LongSum sum;
    for (int64_t i = 0; i < chunks_of(segments.segment[s].count); ++i) sum.add(*partial++);
    result += segments.segment[s].scale * sum.value();
  }
  return result;
}

int64_t workspace(const LossSegments& segments) { return total_chunks(segments) * sizeof(double); }

void sum(Stream, DType dtype, const LossSegments& segments, void* out, void* workspace) {
  double* partial = static_cast<double*>(workspace);
  with_type(dtype, [&](auto type) {
    using T = decltype(type);
    using A = Accumulate<T>;
    with_pairing(segments, [&](auto paired) {
      for_chunks(segments, [&](const LossSegment& segment, int64_t begin, int64_t length, int64_t index) {
        const A inner = segment.term.inner, offset = segment.term.offset;
        with_numbers<paired(), T>(segment.logits, segments.segment[1].logits, begin, [&](auto x) {
          with_base(segment.term.base, [&](auto base) {
            partial[index] =
                segment.term.outer * sum_of<A>(base, length, [=](int64_t i) { return inner * x(i) + offset; });
          });
        });
      });
    });
    *static_cast<T*>(out) = narrow<T>(combine(segments, partial));
  });
}

void value(Stream, DType dtype, const LossSegments& only) {
  with_type(dtype, [&](auto type) {
    using T = decltype(type);
    using A = Accumulate<T>;
    with_pairing(only, [&](auto paired) {
      for_chunks(only, [&](const LossSegment& segment, int64_t begin, int64_t length, int64_t) {
        T* out = static_cast<T*>(segment.out) + begin;
        const A outer = segment.term.outer, inner = segment.term.inner, offset = segment.term.offset;
        with_numbers<paired(), T>(segment.logits, only.segment[1].logits, begin, [&](auto x) {
          with_base(segment.term.base, [&](auto base) {
            store(out, length, segment.count, [=](int64_t i) { return outer * base.value(inner * x(i) + offset); });
          });
        });
      });
    });
  });
}

void first(Stream, DType dtype, const LossSegments& segments, LossGradient gradient) {
  with_type(dtype, [&](auto type) {
    using T = decltype(type);
    using A = Accumulate<T>;
    with_pairing(segments, [&](auto paired) {
      for_chunks(segments, [&](const LossSegment& segment, int64_t begin, int64_t length, int64_t) {
        const T* g = static_cast<const T*>(gradient.data);
        const A inner = segment.term.inner, offset = segment.term.offset;
        const A factor = segment.scale * segment.term.outer * segment.term.inner;
        with_numbers<paired(), T>(segment.logits, segments.segment[1].logits, begin, [&](auto x) {
          with_base(segment.term.base, [&](auto base) {
            const auto slope = [=](int64_t i) { return base.first(inner * x(i) + offset); };
            if (gradient.per_element) {
              g += begin;
              write<paired(), T>(segments, segment, begin, length,
                                 [=](int64_t i) { return factor * A(widen(g[i])) * slope(i); });
            } else {
              const A scaled = factor * A(widen(*g));
              write<paired(), T>(segments, segment, begin, length, [=](int64_t i) { return scaled * slope(i); });
            }
          });
        });
      });
    });
  });
}

void second(Stream, DType dtype, const LossSegments& segments, LossGradient gradient, void* gradient_out,
            void* workspace) {
  double* partial = static_cast<double*>(workspace);
  with_type(dtype, [&](auto type) {
    using T = decltype(type);
    using A = Accumulate<T>;
    with_pairing(segments, [&](auto paired) {
      for_chunks(segments, [&](const LossSegment& segment, int64_t begin, int64_t length, int64_t index) {
        const LossSegment& other = segments.segment[1];
        const T* g = static_cast<const T*>(gradient.data);
        T* out = static_cast<T*>(segment.out) + begin;
        [[maybe_unused]] T* opposite = paired() ? static_cast<T*>(other.out) + begin : nullptr;
        const A inner = segment.term.inner, offset = segment.term.offset;
        const A once = segment.term.outer * segment.term.inner;
        const A twice = segment.scale * once * inner;
        const auto with = [&](auto x, auto t) {
          with_base(segment.term.base, [&](auto base) {
            const auto slope = [=](int64_t i) { return base.first(inner * x(i) + offset); };
            const auto curvature = [=](int64_t i) { return base.second(inner * x(i) + offset); };
            if (gradient.per_element) {
              g += begin;
              T* summand = static_cast<T*>(gradient_out) + begin;
              GANOPS_SIMD
              for (int64_t i = 0; i < length; ++i) {
                const A tangent = t(i);
                const A y = twice * tangent * A(widen(g[i])) * curvature(i);
                summand[i] = narrow<T>(once * tangent * slope(i));
                out[i] = narrow<T>(y);
                if constexpr (paired()) opposite[i] = narrow<T>(-y);
              }
            } else {
              const A scaled = twice * A(widen(*g));
              write<paired(), T>(segments, segment, begin, length,
                                 [=](int64_t i) { return scaled * t(i) * curvature(i); });
              partial[index] = once * accumulate<A>(length, [=](int64_t i) { return t(i) * slope(i); });
            }
          });
        };
        with_numbers<paired(), T>(segment.logits, other.logits, begin, [&](auto x) {
          with_numbers<paired(), T>(segment.tangent, other.tangent, begin, [&](auto t) { with(x, t); });
        });
      });
    });
    if (!gradient.per_element) *static_cast<T*>(gradient_out) = narrow<T>(combine(segments, partial));
  });
}

}  // namespace

extern const AdversarialLossKernels adversarial_loss{workspace, sum, value, first, second};

}  // namespace ganops::cpu::GANOPS_ISA
