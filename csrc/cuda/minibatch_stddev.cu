// Minibatch standard deviation on the GPU.
//
// The features of a group are cut into pieces (samples.cuh, with groups in place of samples), and a warp takes one at a
// time, with all of the group's samples: each is read once. Groups of four, the usual size, are held in registers, a
// vector of each sample a lane; of others a lane takes one feature at a time and reads it again for each sum, out of
// the cache. The same launch writes what does not depend on sums over the group. A second one writes the group's
// number, whose warps each add the partial sums of their group.
//
// The sum over a group's tails, with which backward begins, is made by every warp that needs it, unless it is long:
// then there is a launch before.
#include "../math/minibatch_stddev.h"

#include "../kernels/minibatch_stddev.h"
#include "samples.cuh"

namespace ganops::cuda {
namespace {

// Elements of a group's tails that a warp adds by itself.
constexpr int64_t short_tails = 1024;

// The groups as the kernels know them: the places of a sample's elements in the extended sample, and of its tails'.
struct Extended {
  int64_t samples, group, rows, row, tail, count, size, tails, length;

  explicit Extended(const Groups& g)
      : samples(g.samples),
        group(g.group),
        rows(g.rows),
        row(g.row),
        tail(g.tail),
        count(g.count()),
        size(g.size()),
        tails(g.tails()),
        length(g.extended()) {}

  __device__ __forceinline__ int64_t place(int64_t i) const {
    if (rows == 1) return i;
    return i + tail * (i <= 0xffffffff && row <= 0xffffffff ? static_cast<uint32_t>(i) / static_cast<uint32_t>(row)
                                                            : i / row);
  }
  __device__ __forceinline__ int64_t tail_place(int64_t i) const {
    return rows == 1 ? row + i : (i / tail + 1) * row + i;
  }
};

// This thread's share of the sum over a group's tails.
template <class T>
__device__ __forceinline__ double sum_tails(const Extended& groups, const T* grad, int64_t group, int first, int step) {
  LongSum sum;
  for (int64_t i = first; i < groups.group * groups.tails; i += step) {
    const int64_t member = i / groups.tails;
    const int64_t sample = group + member * groups.count;
    sum.add(widen(grad[sample * groups.length + groups.tail_place(i - member * groups.tails)]));
  }
  return sum.value();
}

template <class T>
__global__ void GANOPS_BOUNDS(4) sum_tails_kernel(const Extended groups, const T* grad, double* above) {
  for (int64_t group = blockIdx.x; group < groups.count; group += gridDim.x) {
    const double sum = block_sum(sum_tails(groups, grad, group, threadIdx.x, block_size));
    if (threadIdx.x == 0) above[group] = sum;
  }
}

// What a pass reads and writes; null is what it does not. `out` and `grad` are extended, but for the gradient that
// backward writes.
template <class T>
struct Pass {
  const T *x, *tangent, *grad;
  T *out, *x_out;
  const double* above;
  double* partial;
};

enum class Order { value, first, second };

// The numbers of one feature: its σ over the `count` samples x(k), and along t(k) the derivative of σ.
template <class A, Order order, int known>
struct Feature {
  A base, mean = 0, inverse = 0, shift = 0, along = 0, deviation = 0;

  template <class X, class Tangent>
  __device__ __forceinline__ Feature(int64_t group, const X& x, const Tangent& t) : base(x(0)) {
    const int64_t count = known ? known : group;
    const A share = A(1) / A(count);
#pragma unroll
    for (int64_t k = 1; k < count; ++k) mean += x(k) - base;
    mean *= share;
    A squares = 0;
#pragma unroll
    for (int64_t k = 0; k < count; ++k) squares += centred(x(k)) * centred(x(k));
    deviation = deviation_of(squares * share);
    if constexpr (order != Order::value) inverse = 1 / deviation;
    if constexpr (order == Order::second) {
#pragma unroll
      for (int64_t k = 0; k < count; ++k) {
        shift += t(k);
        along += centred(x(k)) * t(k);
      }
      shift *= share;
      along *= share * inverse;
    }
  }

  __device__ __forceinline__ A centred(A x) const { return (x - base) - mean; }
  // What the warps add.
  __device__ __forceinline__ A term() const { return order == Order::value ? deviation : along; }
  // What is written for one sample, without G's part.
  __device__ __forceinline__ A slope(A factor, A x) const { return factor * (centred(x) * inverse); }
  __device__ __forceinline__ A curvature(A factor, A x, A t) const {
    return factor * stddev_curvature(t - shift, centred(x), along, inverse);
  }
};

// known: 4, groups of four in vectors; 0, any.
template <class T, Order order, int known>
__device__ __forceinline__ void make_pass(const Pieces& pieces, const Extended& groups, const Pass<T>& p) {
  using A = Accumulate<T>;
  constexpr int width = Vector<T>::width;
  const int lane = threadIdx.x % warp_size;
  for_units(pieces, [&](int64_t group, int64_t begin, int64_t end, int64_t unit) {
    const int64_t count = groups.count, size = groups.size;
    A factor = 0;
    if constexpr (order != Order::value) {
      double sum = 0;
      if (p.above) {
        sum = p.above[group];
      } else {
        sum = __shfl_sync(0xffffffffu, warp_sum(sum_tails(groups, p.grad, group, lane, warp_size)), 0);
      }
      factor = static_cast<A>(sum / (double(groups.group) * size));
    }
    begin -= group * size, end -= group * size;
    const auto sample = [&](int64_t k) { return group + k * count; };

    A sum = 0;
    if constexpr (known != 0) {
#pragma unroll 1
      for (int64_t i = begin + lane * width; i < end; i += warp_size * width) {
        const int64_t to = groups.place(i);
        Vector<T> x[known], t[known];
#pragma unroll
        for (int k = 0; k < known; ++k) {
          x[k] = load_input(p.x + sample(k) * size + i);
          if constexpr (order == Order::first) t[k] = load_input(p.grad + sample(k) * groups.length + to);
          if constexpr (order == Order::second) t[k] = load_input(p.tangent + sample(k) * size + i);
        }
        if constexpr (order != Order::first) {
#pragma unroll
          for (int k = 0; k < known; ++k) {
            store(p.out + sample(k) * groups.length + to, order == Order::value ? x[k] : t[k]);
          }
        }
#pragma unroll
        for (int j = 0; j < width; ++j) {
          const Feature<A, order, known> f(
              known, [&](int64_t k) { return A(widen(x[k].at[j])); }, [&](int64_t k) { return A(widen(t[k].at[j])); });
          sum += f.term();
#pragma unroll
          for (int k = 0; k < known; ++k) {
            const A at = widen(x[k].at[j]);
            if constexpr (order == Order::first) x[k].at[j] = narrow<T>(A(widen(t[k].at[j])) + f.slope(factor, at));
            if constexpr (order == Order::second) x[k].at[j] = narrow<T>(f.curvature(factor, at, widen(t[k].at[j])));
          }
        }
        if constexpr (order != Order::value) {
#pragma unroll
          for (int k = 0; k < known; ++k) {
            store((order == Order::first ? p.out : p.x_out) + sample(k) * size + i, x[k]);
          }
        }
      }
    } else {
#pragma unroll 1
      for (int64_t i = begin + lane; i < end; i += warp_size) {
        const int64_t to = groups.place(i);
        const auto x = [&](int64_t k) { return A(widen(p.x[sample(k) * size + i])); };
        const auto t = [&](int64_t k) { return A(widen(p.tangent[sample(k) * size + i])); };
        const Feature<A, order, 0> f(groups.group, x, t);
        sum += f.term();
#pragma unroll 1
        for (int64_t k = 0; k < groups.group; ++k) {
          const int64_t here = sample(k) * size + i, there = sample(k) * groups.length + to;
          if constexpr (order == Order::value) p.out[there] = p.x[here];
          if constexpr (order == Order::first) {
            p.out[here] = narrow<T>(A(widen(p.grad[there])) + f.slope(factor, x(k)));
          }
          if constexpr (order == Order::second) {
            p.out[there] = p.tangent[here];
            p.x_out[here] = narrow<T>(f.curvature(factor, x(k), t(k)));
          }
        }
      }
    }
    if constexpr (order != Order::first) leave_sum(pieces, unit, sum, p.partial);
  });
}

template <class T, int known>
__global__ void GANOPS_BOUNDS(4) value_kernel(const Pieces pieces, const Extended groups, const Pass<T> p) {
  make_pass<T, Order::value, known>(pieces, groups, p);
}

template <class T, int known>
__global__ void GANOPS_BOUNDS(sizeof(T) == sizeof(float) ? 3 : 2)
    first_kernel(const Pieces pieces, const Extended groups, const Pass<T> p) {
  make_pass<T, Order::first, known>(pieces, groups, p);
}

template <class T, int known>
__global__ void GANOPS_BOUNDS(sizeof(T) == 2 ? 2 : 3)
    second_kernel(const Pieces pieces, const Extended groups, const Pass<T> p) {
  make_pass<T, Order::second, known>(pieces, groups, p);
}

// A warp per sample, and per piece of a long tail.
template <class T>
__global__ void GANOPS_BOUNDS(4)
    write_tails_kernel(const Pieces tails, const Extended groups, const int64_t parts, const double* partial, T* out) {
  const int lane = threadIdx.x % warp_size;
  for_units(tails, [&](int64_t sample, int64_t begin, int64_t end, int64_t) {
    const int64_t group = sample % groups.count;
    LongSum share;
    for (int64_t i = lane; i < parts; i += warp_size) share.add(partial[group * parts + i]);
    const double sum = __shfl_sync(0xffffffffu, warp_sum(share.value()), 0);
    const T value = narrow<T>(static_cast<Accumulate<T>>(groups.size > 0 ? sum / groups.size : 0));
    const int64_t first = sample * tails.size;
    for (int64_t i = begin - first + lane; i < end - first; i += warp_size) {
      out[sample * groups.length + groups.tail_place(i)] = value;
    }
  });
}

// The partial sums of whichever dtype, then a number per group.
int64_t workspace(const Groups& groups) {
  return (sum_workspace(groups.count(), groups.size(), 1) + groups.count()) * sizeof(double);
}

template <class T, Order order>
void run(Stream stream, const Groups& groups, Pass<T> p, void* workspace) {
  const Extended extended(groups);
  // A vector of each of a group's samples is already several loads.
  const Pieces pieces(groups.count(), groups.size(), warp_vector<T>, 1, Purpose::sum);
  p.partial = static_cast<double*>(workspace);
  if (order != Order::value && groups.group * groups.tails() > short_tails) {
    double* above = p.partial + pieces.units();
    launch(sum_tails_kernel<T>, groups.count(), block_size, stream, extended, p.grad, above);
    p.above = above;
  }
  constexpr int width = Vector<T>::width;
  const bool vectors = groups.group == 4 && groups.row % width == 0 && groups.tail % width == 0 &&
                       aligned(p.x, p.tangent, p.grad, p.out, p.x_out);
  const auto kernel = order == Order::value   ? (vectors ? value_kernel<T, 4> : value_kernel<T, 0>)
                      : order == Order::first ? (vectors ? first_kernel<T, 4> : first_kernel<T, 0>)
                                              : (vectors ? second_kernel<T, 4> : second_kernel<T, 0>);
  launch(kernel, pieces.blocks(), pieces.threads(), stream, pieces, extended, p);
  if (order != Order::first) {
    // Each warp adds its group's sums first: no shorter pieces.
    const Pieces tails(groups.samples, groups.tails(), 8 * warp_size, 1, Purpose::write);
    launch(write_tails_kernel<T>, tails.blocks(), tails.threads(), stream, tails, extended, pieces.parts(), p.partial,
           p.out);
  }
}

void forward(Stream stream, DType dtype, const Groups& groups, const void* x, void* out, void* workspace) {
  with_type(dtype, [&](auto type) {
    using T = decltype(type);
    Pass<T> p{};
    p.x = static_cast<const T*>(x), p.out = static_cast<T*>(out);
    run<T, Order::value>(stream, groups, p, workspace);
  });
}

void backward(Stream stream, DType dtype, const Groups& groups, const void* grad, const void* x, void* out,
              void* workspace) {
  with_type(dtype, [&](auto type) {
    using T = decltype(type);
    Pass<T> p{};
    p.x = static_cast<const T*>(x), p.grad = static_cast<const T*>(grad), p.out = static_cast<T*>(out);
    run<T, Order::first>(stream, groups, p, workspace);
  });
}

void double_backward(Stream stream, DType dtype, const Groups& groups, const void* tangent, const void* grad,
                     const void* x, void* grad_out, void* x_out, void* workspace) {
  with_type(dtype, [&](auto type) {
    using T = decltype(type);
    Pass<T> p{};
    p.x = static_cast<const T*>(x), p.tangent = static_cast<const T*>(tangent), p.grad = static_cast<const T*>(grad);
    p.out = static_cast<T*>(grad_out), p.x_out = static_cast<T*>(x_out);
    run<T, Order::second>(stream, groups, p, workspace);
  });
}

}  // namespace

extern const MinibatchStddevKernels minibatch_stddev{workspace, forward, backward, double_backward};

}  // namespace ganops::cuda
