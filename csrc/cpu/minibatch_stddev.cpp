// Minibatch standard deviation on the CPU: a group's samples are read side by side, a block of features at a time, and
// what is written of them is written while they are in the cache. A group's number is known only after all of its
// blocks, and then written where it belongs.
#include "../math/minibatch_stddev.h"

#include <algorithm>

#include "../kernels/minibatch_stddev.h"
#include "loops.h"

namespace ganops::cpu::GANOPS_ISA {
namespace {

// Features of a block.
constexpr int64_t block = 512;

int64_t blocks_of(const Groups& groups) { return std::max<int64_t>(1, (groups.size() + block - 1) / block); }

int64_t workspace(const Groups& groups) { return groups.count() * (blocks_of(groups) + 1) * sizeof(double); }

// Mean, as the difference from the first sample's, and σ of each feature of a block over the `count` samples of a
// group, `step` elements apart.
template <class T>
GANOPS_INLINE void moments(const T* x, int64_t count, int64_t step, int64_t length, Accumulate<T>* mean,
                           Accumulate<T>* deviation) {
  using A = Accumulate<T>;
  const A share = A(1) / A(count);
  if (count == 4) {  // the usual size, all in registers
    const T *a = x, *b = x + step, *c = x + 2 * step, *d = x + 3 * step;
    GANOPS_SIMD
    for (int64_t j = 0; j < length; ++j) {
      const A base = widen(a[j]), q = widen(b[j]) - base, r = widen(c[j]) - base, s = widen(d[j]) - base;
      const A m = (q + r + s) * share;
      const A squares = (m * m + (q - m) * (q - m)) + ((r - m) * (r - m) + (s - m) * (s - m));
      mean[j] = m;
      deviation[j] = deviation_of(squares * share);
    }
    return;
  }
  std::fill(mean, mean + length, A(0));
  for (int64_t k = 1; k < count; ++k) {
    const T* member = x + k * step;
    GANOPS_SIMD
    for (int64_t j = 0; j < length; ++j) mean[j] += A(widen(member[j])) - A(widen(x[j]));
  }
  GANOPS_SIMD
  for (int64_t j = 0; j < length; ++j) mean[j] *= share, deviation[j] = 0;
  for (int64_t k = 0; k < count; ++k) {
    const T* member = x + k * step;
    GANOPS_SIMD
    for (int64_t j = 0; j < length; ++j) {
      const A centred = (A(widen(member[j])) - A(widen(x[j]))) - mean[j];
      deviation[j] += centred * centred;
    }
  }
  GANOPS_SIMD
  for (int64_t j = 0; j < length; ++j) deviation[j] = deviation_of(deviation[j] * share);
}

// 1/σ in place of σ.
template <class A>
GANOPS_INLINE void invert(A* deviation, int64_t length) {
  GANOPS_SIMD
  for (int64_t j = 0; j < length; ++j) deviation[j] = 1 / deviation[j];
}

// body(from, to, length) for each stretch of elements [begin, end) of a sample: the elements from `begin + from` on
// begin at `to` in the extended sample.
template <class Body>
GANOPS_INLINE void for_stretches(const Groups& groups, int64_t begin, int64_t end, const Body& body) {
  for (int64_t i = begin; i < end;) {
    const int64_t row = groups.rows == 1 ? 0 : i / groups.row;
    const int64_t next = smaller(end, (row + 1) * groups.row);
    body(i - begin, i + row * groups.tail, next - i);
    i = next;
  }
}

template <class T>
GANOPS_INLINE void copy(T* to, const T* from, int64_t length, bool past) {
  past ? stream(to, from, length * sizeof(T)) : static_cast<void>(memcpy(to, from, length * sizeof(T)));
}

// Sums what the blocks of each group left, and writes the mean over its features into the tails of its samples.
template <class T>
void write_tails(const Groups& groups, double* partial, T* out) {
  const int64_t count = groups.count(), blocks = blocks_of(groups), size = groups.size();
  parallel(count, blocks + groups.group * groups.tails(), [&](int64_t g) {
    LongSum sum;
    for (int64_t i = 0; i < blocks; ++i) sum.add(partial[g * blocks + i]);
    const T value = narrow<T>(size > 0 ? sum.value() / size : 0);
    for (int64_t sample = g; sample < groups.samples; sample += count) {
      for (int64_t row = 0; row < groups.rows; ++row) {
        T* tail = out + sample * groups.extended() + row * (groups.row + groups.tail) + groups.row;
        std::fill(tail, tail + groups.tail, value);
      }
    }
  });
}

// above[g]: what ∂σ/∂x·G·σ is multiplied with, the sum h over the tails of the group, over all its features and
// samples.
template <class T>
void sum_tails(const Groups& groups, const T* grad, double* above) {
  using A = Accumulate<T>;
  const int64_t count = groups.count();
  parallel(count, groups.group * groups.tails(), [&](int64_t g) {
    LongSum sum;
    for (int64_t sample = g; sample < groups.samples; sample += count) {
      const T* tails = grad + sample * groups.extended() + groups.row;
      const int64_t step = groups.row + groups.tail;
      for (int64_t begin = 0; begin < groups.tail; begin += chunk) {
        const int64_t length = smaller(chunk, groups.tail - begin);
        for (int64_t row = 0; row < groups.rows; ++row) {
          const T* tail = tails + row * step + begin;
          sum.add(accumulate<A>(length, [=](int64_t i) { return A(widen(tail[i])); }));
        }
      }
    }
    above[g] = sum.value() / (double(groups.group) * groups.size());
  });
}

// body(g, i, begin, length) for each block i of each group g.
template <class Body>
void for_blocks(const Groups& groups, const Body& body) {
  const int64_t blocks = blocks_of(groups), size = groups.size();
  parallel(groups.count() * blocks, groups.group * smaller(size, block), [&](int64_t index) {
    const int64_t g = index / blocks, i = index % blocks;
    body(g, i, i * block, smaller(block, size - i * block));
  });
}

void forward(Stream, DType dtype, const Groups& groups, const void* x, void* out, void* workspace) {
  with_type(dtype, [&](auto type) {
    using T = decltype(type);
    using A = Accumulate<T>;
    const int64_t count = groups.count(), size = groups.size();
    const bool past = groups.samples * size * static_cast<int64_t>(sizeof(T)) >= past_cache;
    double* partial = static_cast<double*>(workspace);
    for_blocks(groups, [&](int64_t g, int64_t i, int64_t begin, int64_t length) {
      const T* in = static_cast<const T*>(x) + g * size + begin;
      A mean[block], deviation[block];
      moments(in, groups.group, count * size, length, mean, deviation);
      partial[g * blocks_of(groups) + i] = accumulate<A>(length, [&](int64_t j) { return deviation[j]; });
      for (int64_t k = 0; k < groups.group; ++k) {
        T* y = static_cast<T*>(out) + (g + k * count) * groups.extended();
        for_stretches(groups, begin, begin + length, [&](int64_t from, int64_t to, int64_t stretch) {
          copy(y + to, in + k * count * size + from, stretch, past);
        });
      }
    });
    write_tails(groups, partial, static_cast<T*>(out));
  });
}

void backward(Stream, DType dtype, const Groups& groups, const void* grad, const void* x, void* out, void* workspace) {
  with_type(dtype, [&](auto type) {
    using T = decltype(type);
    using A = Accumulate<T>;
    const int64_t count = groups.count(), size = groups.size();
    double* above = static_cast<double*>(workspace);
    sum_tails(groups, static_cast<const T*>(grad), above);
    for_blocks(groups, [&](int64_t g, int64_t, int64_t begin, int64_t length) {
      const T* in = static_cast<const T*>(x) + g * size + begin;
      const A factor = above[g];
      A mean[block], inverse[block];
      moments(in, groups.group, count * size, length, mean, inverse);
      invert(inverse, length);
      for (int64_t k = 0; k < groups.group; ++k) {
        const T* member = in + k * count * size;
        const T* upper = static_cast<const T*>(grad) + (g + k * count) * groups.extended();
        T* y = static_cast<T*>(out) + (g + k * count) * size + begin;
        for_stretches(groups, begin, begin + length, [&](int64_t from, int64_t to, int64_t stretch) {
          const T *p = member + from, *q = upper + to, *base = in + from;
          const A *m = mean + from, *r = inverse + from;
          store(y + from, stretch, groups.samples * size, [=](int64_t j) {
            return A(widen(q[j])) + factor * (((A(widen(p[j])) - A(widen(base[j]))) - m[j]) * r[j]);
          });
        });
      }
    });
  });
}

void double_backward(Stream, DType dtype, const Groups& groups, const void* tangent, const void* grad, const void* x,
                     void* grad_out, void* x_out, void* workspace) {
  with_type(dtype, [&](auto type) {
    using T = decltype(type);
    using A = Accumulate<T>;
    const int64_t count = groups.count(), size = groups.size(), step = count * size;
    const int64_t written = 2 * groups.samples * size;
    const bool past = written * static_cast<int64_t>(sizeof(T)) >= past_cache;
    double *partial = static_cast<double*>(workspace), *above = partial + count * blocks_of(groups);
    sum_tails(groups, static_cast<const T*>(grad), above);
    for_blocks(groups, [&](int64_t g, int64_t i, int64_t begin, int64_t length) {
      const T* in = static_cast<const T*>(x) + g * size + begin;
      const T* along_in = static_cast<const T*>(tangent) + g * size + begin;
      const A factor = above[g], share = A(1) / A(groups.group);
      A mean[block], inverse[block], shift[block] = {}, along[block] = {};
      moments(in, groups.group, step, length, mean, inverse);
      invert(inverse, length);
      for (int64_t k = 0; k < groups.group; ++k) {
        const T *p = in + k * step, *t = along_in + k * step;
        GANOPS_SIMD
        for (int64_t j = 0; j < length; ++j) {
          shift[j] += A(widen(t[j])) * share;
          along[j] += ((A(widen(p[j])) - A(widen(in[j]))) - mean[j]) * A(widen(t[j])) * (inverse[j] * share);
        }
      }
      partial[g * blocks_of(groups) + i] = accumulate<A>(length, [&](int64_t j) { return along[j]; });
      for (int64_t k = 0; k < groups.group; ++k) {
        const T *p = in + k * step, *t = along_in + k * step;
        T* y = static_cast<T*>(x_out) + (g + k * count) * size + begin;
        store(y, length, written, [&](int64_t j) {
          return factor * stddev_curvature(A(widen(t[j])) - shift[j], (A(widen(p[j])) - A(widen(in[j]))) - mean[j],
                                           along[j], inverse[j]);
        });
        T* extended = static_cast<T*>(grad_out) + (g + k * count) * groups.extended();
        for_stretches(groups, begin, begin + length,
                      [&](int64_t from, int64_t to, int64_t stretch) { copy(extended + to, t + from, stretch, past); });
      }
    });
    write_tails(groups, partial, static_cast<T*>(grad_out));
  });
}

}  // namespace

extern const MinibatchStddevKernels minibatch_stddev{workspace, forward, backward, double_backward};

}  // namespace ganops::cpu::GANOPS_ISA
