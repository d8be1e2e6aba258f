// Adversarial losses on the CPU. The segments' chunks form one list that the threads share; a chunk of a sum leaves a
// partial sum in the workspace, added up in order at the end.
#include "../math/adversarial_loss.h"

#include <type_traits>
#include <vector>

#include "loops.h"

namespace ganops::cpu::GANOPS_ISA {
namespace {

int64_t total_chunks(const LossTable& table) {
  int64_t total = 0;
  for (int64_t s = 0; s < table.count; ++s) total += chunks_of(table.segments[s].count);
  return total;
}

int64_t total_count(const LossTable& table) {
  int64_t total = 0;
  for (int64_t s = 0; s < table.count; ++s) total += table.segments[s].count;
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

// outᵢ = value(i) in the chunk of a segment that begins there; to the partner with the other sign. `written` elements
// are written in all.
template <bool paired, class T, class Value>
GANOPS_INLINE void write(const LossSegment& segment, int64_t begin, int64_t length, int64_t written,
                         const Value& value) {
  T* out = static_cast<T*>(segment.out) + begin;
  if constexpr (paired) {
    T* opposite = static_cast<T*>(segment.partner_out) + begin;
    GANOPS_SIMD
    for (int64_t i = 0; i < length; ++i) {
      const auto y = value(i);
      out[i] = narrow<T>(y);
      opposite[i] = narrow<T>(-y);
    }
  } else {
    store(out, length, written, value);
  }
}

// Calls f with whether the segments are paired, known to the compiler.
template <class F>
void with_pairing(const LossTable& table, const F& f) {
  table.paired ? f(std::true_type()) : f(std::false_type());
}

// Where the chunks of a segment end in the list of all chunks; without an allocation for the usual few.
class Ends {
 public:
  explicit Ends(const LossTable& table) {
    if (table.count > static_cast<int64_t>(sizeof(few_) / sizeof(*few_))) {
      many_.resize(table.count);
      at_ = many_.data();
    }
    int64_t chunks = 0;
    for (int64_t s = 0; s < table.count; ++s) at_[s] = chunks += chunks_of(table.segments[s].count);
  }
  Ends(const Ends&) = delete;
  Ends& operator=(const Ends&) = delete;

  int64_t begin(int64_t s) const { return s > 0 ? at_[s - 1] : 0; }
  int64_t end(int64_t s) const { return at_[s]; }

  int64_t segment_of(int64_t chunk, int64_t count) const {
    int64_t low = 0, high = count - 1;
    while (low < high) {
      const int64_t middle = (low + high) / 2;
      chunk < at_[middle] ? high = middle : low = middle + 1;
    }
    return low;
  }

 private:
  int64_t few_[16];
  std::vector<int64_t> many_;
  int64_t* at_ = few_;
};

// body(segment, its number, begin, length, index) for every chunk of every segment.
template <class Body>
void for_chunks(const LossTable& table, const Body& body) {
  const Ends ends(table);
  const int64_t chunks = ends.end(table.count - 1);
  if (chunks == 0) return;
  parallel(chunks, (total_count(table) + chunks - 1) / chunks, [&](int64_t index) {
    const int64_t s = ends.segment_of(index, table.count), begin = (index - ends.begin(s)) * chunk;
    const LossSegment& segment = table.segments[s];
    body(segment, s, begin, smaller(chunk, segment.count - begin), index);
  });
}

const Term& term_of(const LossTable& table, int64_t s) { return table.terms[s % table.parts]; }

// The element of a view that segment s takes part in.
int64_t place_of(const LossTable& table, int64_t s) { return table.each ? s / (table.parts * table.samples) : 0; }

template <class T>
Accumulate<T> weight_of(const LossSegment& segment) {
  return segment.weight ? widen(*static_cast<const T*>(segment.weight)) : Accumulate<T>(1);
}

// The views that segment s takes part in: the loss, and its part.
template <class Pointer, class F>
void for_views(const LossTable& table, const LossViews<Pointer>& views, int64_t s, const F& f) {
  if (views.at[0] != nullptr) f(0);
  const int part = 1 + s % table.parts;
  if (views.at[part] != nullptr) f(part);
}

// The gradient from above for all logits of segment s.
template <class T>
Accumulate<T> gradient_of(const LossTable& table, const LossGradients& gradients, int64_t s) {
  Accumulate<T> sum = -Accumulate<T>(0);  // which keeps the sign of a zero
  for_views(table, gradients, s,
            [&](int view) { sum += widen(static_cast<const T*>(gradients.at[view])[place_of(table, s)]); });
  return sum;
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

// Σₛ scale Σᵢ of what `partial` left in the workspace for each chunk, into the views.
template <class T>
void combine(const LossTable& table, const double* partial, const LossValues& views) {
  double found[loss_views] = {};
  const int64_t at_once = table.each ? table.parts * table.samples : table.count;
  for (int64_t s = 0; s < table.count; ++s) {
    const LossSegment& segment = table.segments[s];
    LongSum sum;
    for (int64_t i = 0; i < chunks_of(segment.count); ++i) sum.add(*partial++);
    const double value = segment.scale * weight_of<T>(segment) * sum.value();
    found[0] += value;
    found[1 + s % table.parts] += value;
    if ((s + 1) % at_once != 0) continue;
    for (int view = 0; view < loss_views; ++view) {
      using A = Accumulate<T>;
      if (views.at[view]) static_cast<T*>(views.at[view])[place_of(table, s)] = narrow<T>(static_cast<A>(found[view]));
      found[view] = 0;
    }
  }
}

int64_t workspace(const LossTable& table) { return total_chunks(table) * sizeof(double); }

void sum(Stream, DType dtype, const LossTable& table, const LossValues& out, void* workspace) {
  double* partial = static_cast<double*>(workspace);
  with_type(dtype, [&](auto type) {
    using T = decltype(type);
    using A = Accumulate<T>;
    with_pairing(table, [&](auto paired) {
      for_chunks(table, [&](const LossSegment& segment, int64_t s, int64_t begin, int64_t length, int64_t index) {
        const Term& term = term_of(table, s);
        const A inner = term.inner, offset = term.offset;
        with_numbers<paired(), T>(segment.logits, segment.partner, begin, [&](auto x) {
          with_base(term.base, A(term.tilt), [&](auto base) {
            partial[index] = term.outer * sum_of<A>(base, length, [=](int64_t i) { return inner * x(i) + offset; });
          });
        });
      });
    });
    combine<T>(table, partial, out);
  });
}

void value(Stream, DType dtype, const LossTable& table) {
  const int64_t written = total_count(table);
  with_type(dtype, [&](auto type) {
    using T = decltype(type);
    using A = Accumulate<T>;
    with_pairing(table, [&](auto paired) {
      for_chunks(table, [&](const LossSegment& segment, int64_t s, int64_t begin, int64_t length, int64_t) {
        const Term& term = term_of(table, s);
        T* out = static_cast<T*>(segment.out) + begin;
        const A outer = term.outer * weight_of<T>(segment), inner = term.inner, offset = term.offset;
        with_numbers<paired(), T>(segment.logits, segment.partner, begin, [&](auto x) {
          with_base(term.base, A(term.tilt), [&](auto base) {
            store(out, length, written, [=](int64_t i) { return outer * base.value(inner * x(i) + offset); });
          });
        });
      });
    });
  });
}

void first(Stream, DType dtype, const LossTable& table, const LossGradients& gradients) {
  const int64_t written = total_count(table);
  with_type(dtype, [&](auto type) {
    using T = decltype(type);
    using A = Accumulate<T>;
    with_pairing(table, [&](auto paired) {
      for_chunks(table, [&](const LossSegment& segment, int64_t s, int64_t begin, int64_t length, int64_t) {
        const Term& term = term_of(table, s);
        const A inner = term.inner, offset = term.offset;
        const A factor = segment.scale * weight_of<T>(segment) * term.outer * term.inner;
        with_numbers<paired(), T>(segment.logits, segment.partner, begin, [&](auto x) {
          with_base(term.base, A(term.tilt), [&](auto base) {
            const auto slope = [=](int64_t i) { return base.first(inner * x(i) + offset); };
            if (table.per_element) {
              const T* g = static_cast<const T*>(segment.above) + begin;
              write<paired(), T>(segment, begin, length, written,
                                 [=](int64_t i) { return factor * A(widen(g[i])) * slope(i); });
            } else {
              const A scaled = factor * gradient_of<T>(table, gradients, s);
              write<paired(), T>(segment, begin, length, written, [=](int64_t i) { return scaled * slope(i); });
            }
          });
        });
      });
    });
  });
}

void second(Stream, DType dtype, const LossTable& table, const LossGradients& gradients, const LossValues& gradient_out,
            void* workspace) {
  const int64_t written = total_count(table);
  double* partial = static_cast<double*>(workspace);
  with_type(dtype, [&](auto type) {
    using T = decltype(type);
    using A = Accumulate<T>;
    with_pairing(table, [&](auto paired) {
      for_chunks(table, [&](const LossSegment& segment, int64_t s, int64_t begin, int64_t length, int64_t index) {
        const Term& term = term_of(table, s);
        const A inner = term.inner, offset = term.offset;
        const A weight = weight_of<T>(segment), once = term.outer * term.inner;
        const A twice = segment.scale * weight * once * inner;
        const auto with = [&](auto x, auto t) {
          with_base(term.base, A(term.tilt), [&](auto base) {
            const auto slope = [=](int64_t i) { return base.first(inner * x(i) + offset); };
            const auto curvature = [=](int64_t i) { return base.second(inner * x(i) + offset); };
            if (table.per_element) {
              const T* g = static_cast<const T*>(segment.above) + begin;
              T *summand = static_cast<T*>(segment.above_out) + begin, *out = static_cast<T*>(segment.out) + begin;
              [[maybe_unused]] T* opposite = paired() ? static_cast<T*>(segment.partner_out) + begin : nullptr;
              GANOPS_SIMD
              for (int64_t i = 0; i < length; ++i) {
                const A tangent = t(i);
                const A y = twice * tangent * A(widen(g[i])) * curvature(i);
                summand[i] = narrow<T>(weight * once * tangent * slope(i));
                out[i] = narrow<T>(y);
                if constexpr (paired()) opposite[i] = narrow<T>(-y);
              }
            } else {
              const A scaled = twice * gradient_of<T>(table, gradients, s);
              write<paired(), T>(segment, begin, length, written,
                                 [=](int64_t i) { return scaled * t(i) * curvature(i); });
              partial[index] = once * accumulate<A>(length, [=](int64_t i) { return t(i) * slope(i); });
            }
          });
        };
        with_numbers<paired(), T>(segment.logits, segment.partner, begin, [&](auto x) {
          with_numbers<paired(), T>(segment.tangent, segment.partner_tangent, begin, [&](auto t) { with(x, t); });
        });
      });
    });
    if (!table.per_element) combine<T>(table, partial, gradient_out);
  });
}

}  // namespace

extern const AdversarialLossKernels adversarial_loss{workspace, sum, value, first, second};

}  // namespace ganops::cpu::GANOPS_ISA
