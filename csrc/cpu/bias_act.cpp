// bias_act on the CPU: one pass, with the sums over everything but the channels in the same.
//
// Channels whose elements lie in long stretches are taken a stretch at a time: the loops of samples.h, a sample being
// one channel of one sample. Where channels lie side by side or in short stretches, whole rows of channels are, several
// at once where they are short; a column's sum goes down the rows. Either way a block of elements has its channels'
// numbers beside it, so that one loop over a block serves both.
#include "../math/bias_act.h"

#include "../kernels/bias_act.h"
#include "samples.h"

namespace ganops::cpu::GANOPS_ISA {
namespace {

// Elements worked on at once, and the length from which on a stretch is one of its own.
constexpr int64_t block = 1024, long_stretch = 64;

// What there is one of for each channel; 0 where there is none.
template <class T>
struct PerChannel {
  const void* numbers;
  bool wide;

  Accumulate<T> operator[](int64_t channel) const {
    if (!numbers) return 0;
    return wide ? static_cast<const Accumulate<T>*>(numbers)[channel] : widen(static_cast<const T*>(numbers)[channel]);
  }
};

// How rows of channels in short stretches are divided. The rows are joined until they are about a block long, cut into
// columns where they are longer, and taken in groups that are added up one after another.
struct Rows {
  int64_t joined, length, count, columns, width, group, groups;

  explicit Rows(const Channels& shape) {
    const int64_t row = shape.channels * shape.inner;
    joined = row < block ? block / row : 1;
    length = row * joined;
    count = (shape.count() + length - 1) / length;
    width = smaller(length, block - block % shape.inner);
    columns = (length + width - 1) / width;
    const int64_t share = count * columns / 64;
    group = share < 16 ? 16 : smaller(share, 256);
    groups = (count + group - 1) / group;
  }
};

bool in_stretches(const Channels& shape) { return shape.inner >= long_stretch || shape.outer * shape.inner == 0; }

int64_t workspace(const Channels& shape) {
  if (in_stretches(shape)) return shape.outer * shape.channels * chunks_of(shape.inner) * sizeof(double);
  const Rows rows(shape);
  return rows.groups * shape.channels * sizeof(double);
}

// Rounds a block to where it belongs, past the caches if the whole result will not stay there.
template <class T>
struct Sink {
  T* out;
  bool past;

  Sink(void* out, int64_t count)
      : out(static_cast<T*>(out)), past(count * static_cast<int64_t>(sizeof(T)) >= past_cache) {}

  void put(int64_t begin, int64_t count, const Accumulate<T>* values) const {
    const bool stream_it = past && count >= block / 4;
    if constexpr (sizeof(T) == sizeof(values[0])) {
      if (stream_it) return stream(out + begin, values, count * sizeof(T));
    }
    alignas(64) T rounded[block];
    T* to = stream_it ? rounded : out + begin;
    GANOPS_SIMD
    for (int64_t i = 0; i < count; ++i) to[i] = narrow<T>(values[i]);
    if (stream_it) stream(out + begin, rounded, count * sizeof(T));
  }
};

// What a call reads and writes; null is what it does not.
template <class T>
struct Call {
  Gained<T> numbers;
  const T *grad = nullptr, *reference = nullptr, *tangent = nullptr;
  const void *b = nullptr, *tangent_b = nullptr;
  Sink<T> out, reference_out;
};

// A block: `count` elements from `begin`, whose channels' numbers are in b and c (the tangent's). What is summed by
// channel is left in `summed`.
template <class T>
using Body = void (*)(const Call<T>&, int64_t begin, int64_t count, const Accumulate<T>* b, const Accumulate<T>* c,
                      Accumulate<T>* summed);

// Calls `body` for each block; the sums by channel of what it leaves in `summed` go to `sum`, unless that is null.
template <class T>
void visit(const BiasAct& how, const Call<T>& call, Body<T> body, void* sum, void* workspace) {
  using A = Accumulate<T>;
  const PerChannel<T> first{call.b, how.wide}, second{call.tangent_b, how.wide};
  const Channels shape = how.shape;
  double* const partial = static_cast<double*>(workspace);
  const auto write = [&](int64_t channel, const LongSum& found) {
    if (how.wide) {
      static_cast<A*>(sum)[channel] = found.value();
    } else {
      static_cast<T*>(sum)[channel] = narrow<T>(found.value());
    }
  };
  if (in_stretches(shape)) {
    const int64_t pieces = chunks_of(shape.inner);
    for_samples(shape.outer * shape.channels, shape.inner,
                [&](int64_t sample, int64_t begin, int64_t length, int64_t piece) {
                  alignas(64) A b[block], c[block], summed[block];
                  const A numbers[] = {first[sample % shape.channels], second[sample % shape.channels]};
                  for (int64_t i = 0; i < smaller(length, block); ++i) b[i] = numbers[0], c[i] = numbers[1];
                  double total = 0;
                  for (int64_t i = 0; i < length; i += block) {
                    const int64_t count = smaller(block, length - i);
                    body(call, begin + i, count, b, c, summed);
                    if (!sum) continue;
                    total += accumulate<A>(count, [&](int64_t k) { return summed[k]; });
                  }
                  if (sum) partial[sample * pieces + piece] = total;
                });
    if (!sum) return;
    for (int64_t channel = 0; channel < shape.channels; ++channel) {
      LongSum found;
      for (int64_t outer = 0; outer < shape.outer; ++outer) {
        const double* of = partial + (outer * shape.channels + channel) * pieces;
        for (int64_t piece = 0; piece < pieces; ++piece) found.add(of[piece]);
      }
      write(channel, found);
    }
    return;
  }

  const Rows rows(shape);
  parallel(rows.groups * rows.columns, rows.group * rows.width, [&](int64_t unit) {
    const int64_t group = unit / rows.columns, column = unit % rows.columns * rows.width;
    const int64_t width = smaller(rows.width, rows.length - column);
    alignas(64) A b[block], c[block], summed[block], sums[block];
    int64_t channel = column / shape.inner % shape.channels;
    for (int64_t i = 0; i < width; channel = channel + 1 < shape.channels ? channel + 1 : 0) {
      const A numbers[] = {first[channel], second[channel]};
      for (int64_t k = 0; k < shape.inner && i < width; ++k, ++i) b[i] = numbers[0], c[i] = numbers[1], sums[i] = 0;
    }
    for (int64_t row = group * rows.group; row < smaller(rows.count, (group + 1) * rows.group); ++row) {
      const int64_t begin = row * rows.length + column, count = smaller(width, shape.count() - begin);
      if (count <= 0) break;
      body(call, begin, count, b, c, summed);
      if (!sum) continue;
      GANOPS_SIMD
      for (int64_t i = 0; i < count; ++i) sums[i] += summed[i];
    }
    if (!sum) return;
    // Joined rows have all of their columns here.
    double* const to = partial + group * shape.channels + column / shape.inner;
    const int64_t row = width / rows.joined;
    for (int64_t i = 0; i < row; i += shape.inner) {
      double total = 0;
      for (int64_t j = i; j < width; j += row) {
        for (int64_t k = 0; k < shape.inner; ++k) total += sums[j + k];
      }
      to[i / shape.inner] = total;
    }
  });
  if (!sum) return;
  parallel(shape.channels, 4 * rows.groups, [&](int64_t channel) {
    LongSum found;
    for (int64_t group = 0; group < rows.groups; ++group) found.add(partial[group * shape.channels + channel]);
    write(channel, found);
  });
}

template <class T, class F>
void forward_block(const Call<T>& call, int64_t begin, int64_t count, const Accumulate<T>* b, const Accumulate<T>*,
                   Accumulate<T>* values) {
  using A = Accumulate<T>;
  const Gained<T> numbers = call.numbers;
  const T* x = call.reference + begin;
  GANOPS_SIMD
  for (int64_t i = 0; i < count; ++i) values[i] = numbers.value(F{}, A(widen(x[i])) + b[i]);
  call.out.put(begin, count, values);
}

// slopes[i] = values[i]·s
template <class T, class F, class Value>
GANOPS_INLINE void multiply(const Call<T>& call, int64_t begin, int64_t count, const Accumulate<T>* b,
                            const Value* values, Accumulate<T>* slopes) {
  using A = Accumulate<T>;
  const Gained<T> numbers = call.numbers;
  if (!call.reference) {
    GANOPS_SIMD
    for (int64_t i = 0; i < count; ++i) slopes[i] = A(widen(values[i])) * numbers.gain;
    return;
  }
  const T* r = call.reference + begin;
  if constexpr (F::kept == Kept::result) {
    GANOPS_SIMD
    for (int64_t i = 0; i < count; ++i) slopes[i] = A(widen(values[i])) * numbers.slope(F{}, A(widen(r[i])));
  } else {
    GANOPS_SIMD
    for (int64_t i = 0; i < count; ++i) slopes[i] = A(widen(values[i])) * numbers.slope(F{}, A(widen(r[i])) + b[i]);
  }
}

template <class T, class F>
void backward_block(const Call<T>& call, int64_t begin, int64_t count, const Accumulate<T>* b, const Accumulate<T>*,
                    Accumulate<T>* values) {
  multiply<T, F>(call, begin, count, b, call.grad + begin, values);
  call.out.put(begin, count, values);
}

template <class T, class F>
void double_backward_block(const Call<T>& call, int64_t begin, int64_t count, const Accumulate<T>* b,
                           const Accumulate<T>* c, Accumulate<T>* values) {
  using A = Accumulate<T>;
  const Gained<T> numbers = call.numbers;
  alignas(64) A t[block], slopes[block];
  GANOPS_SIMD
  for (int64_t i = 0; i < count; ++i) t[i] = c[i];
  if (call.tangent) {
    const T* along = call.tangent + begin;
    GANOPS_SIMD
    for (int64_t i = 0; i < count; ++i) t[i] += A(widen(along[i]));
  }
  multiply<T, F>(call, begin, count, b, t, slopes);
  call.out.put(begin, count, slopes);
  if constexpr (F::curved) {
    const T *g = call.grad + begin, *r = call.reference + begin;
    GANOPS_SIMD
    for (int64_t i = 0; i < count; ++i) {
      values[i] = t[i] * A(widen(g[i])) * numbers.curvature(F{}, A(widen(r[i])) + b[i]);
    }
    call.reference_out.put(begin, count, values);
  }
}

void forward(Stream, DType dtype, const BiasAct& how, const void* x, const void* b, void* out) {
  with_type(dtype, [&](auto type) {
    using T = decltype(type);
    const Sink<T> sink(out, how.shape.count());
    const Call<T> call{Gained<T>(how), nullptr, static_cast<const T*>(x), nullptr, b, nullptr, sink, sink};
    with_activation(how.activation, [&](auto activation) {
      visit<T>(how, call, forward_block<T, decltype(activation)>, nullptr, nullptr);
    });
  });
}

void backward(Stream, DType dtype, const BiasAct& how, const void* grad, const void* reference, const void* b,
              void* out, void* sum, void* workspace) {
  with_type(dtype, [&](auto type) {
    using T = decltype(type);
    const Sink<T> sink(out, how.shape.count());
    const Call<T> call{
        Gained<T>(how), static_cast<const T*>(grad), static_cast<const T*>(reference), nullptr, b, nullptr, sink, sink};
    with_activation(how.activation, [&](auto activation) {
      visit<T>(how, call, backward_block<T, decltype(activation)>, sum, workspace);
    });
  });
}

void double_backward(Stream, DType dtype, const BiasAct& how, const void* tangent, const void* tangent_b,
                     const void* grad, const void* reference, const void* b, void* grad_out, void* reference_out,
                     void* sum, void* workspace) {
  with_type(dtype, [&](auto type) {
    using T = decltype(type);
    const int64_t count = how.shape.count();
    const Call<T> call{Gained<T>(how),
                       static_cast<const T*>(grad),
                       static_cast<const T*>(reference),
                       static_cast<const T*>(tangent),
                       b,
                       tangent_b,
                       Sink<T>(grad_out, count),
                       Sink<T>(reference_out, count)};
    with_activation(how.activation, [&](auto activation) {
      visit<T>(how, call, double_backward_block<T, decltype(activation)>, sum, workspace);
    });
  });
}

}  // namespace

extern const BiasActKernels bias_act{forward, workspace, backward, double_backward};

}  // namespace ganops::cpu::GANOPS_ISA
