// The anti-aliased Snake on the GPU, one launch for each order.
//
// A block takes a tile of a row: its signals into shared memory, with what the filters reach beyond it, then the fine
// grid there, its phases apart, then the filters down from it. A thread takes a place of every phase, so that the
// threads of a warp read neighbours and share their taps. Results take the signals' place, to be written by vectors.
// Nothing but the signals and the results is in device memory. The derivatives by α and q are sums over a channel: each
// tile leaves its own, and the block that ends last adds them in their order.
#include "../math/filtered_snake.h"

#include "../kernels/filtered_snake.h"
#include "reduce.cuh"
#include "ticket.cuh"
#include "vector.cuh"

namespace ganops::cuda {
namespace {

// Numbers of a signal and of the fine grid that a tile has room for.
constexpr int signal_bytes = 4608, fine_bytes = 2 * signal_bytes;
template <class A>
constexpr int signal_capacity = signal_bytes / sizeof(A);
template <class A>
constexpr int fine_capacity = fine_bytes / sizeof(A);

enum class Order { value, first, second };

// The places that the filters reach: of the fine grid from a tile's first on, `least` to `most`; of a signal from a
// place of the fine grid on, those of up and of the adjoint of down.
struct Reach {
  int least = 0, most = 0;

  void extend(const Branch& branch) {
    least = branch.first < least ? branch.first : least;
    const int last = branch.first + branch.count - 1;
    most = last > most ? last : most;
  }
};

struct Tiling {
  int places, count;  // of a tile; tiles of a row
  int stride;         // of the phases
  Reach fine, signal;

  Tiling(const SnakeShape& shape, int signal_room, int fine_room) {
    for (int s = 0; s < shape.ratio; ++s) {
      const Branch up = up_branch(s, shape.up_taps, shape.ratio), down = down_branch(s, shape.down_taps, shape.ratio);
      fine.extend(down), fine.extend(up.adjoint());
      signal.extend(up), signal.extend(down.adjoint());
    }
    const int beyond = fine.most - fine.least, around = beyond + signal.most - signal.least;
    const int in_signal = signal_room - around, in_fine = fine_room / shape.ratio - beyond;
    const int64_t room = (in_signal < in_fine ? in_signal : in_fine) / 8 * 8;
    count = static_cast<int>(divide_up(shape.length, room));
    places = count > 0 ? static_cast<int>(divide_up(divide_up(shape.length, count), 8) * 8) : 8;
    count = static_cast<int>(divide_up(shape.length, places));
    stride = places + beyond;
  }
};

template <class T>
struct Pass {
  using A = Accumulate<T>;

  const T *x, *grad, *tangent;
  const A *alpha, *q, *up, *down, *alpha_tangent, *q_tangent;
  T *out, *x_out;
  A *alpha_out, *q_out;
  void* workspace;  // the count for who has no ticket, then two sums of each tile
};

// The filters and their branches, for all threads.
template <class A>
struct Filters {
  A up[most_snake_taps], down[most_snake_taps];
  Branch up_branches[most_snake_ratio], down_branches[most_snake_ratio];
};

template <class A>
__device__ __forceinline__ A filtered(const Branch& branch, const A* taps, const A* at) {
  A sum = 0;
  for (int j = 0; j < branch.count; ++j) sum += taps[branch.tap + j * branch.step] * at[branch.first + j];
  return sum;
}

// to[i] = row[begin + i] for i in [0, count); beyond the row its edge repeated, or zeros.
template <class T>
__device__ __forceinline__ void lay(const T* row, int64_t length, int64_t begin, int count, bool repeat, bool vectors,
                                    Accumulate<T>* to) {
  using A = Accumulate<T>;
  constexpr int width = Vector<T>::width;
  const int64_t first = begin > 0 ? begin : 0, end = begin + count < length ? begin + count : length;
  if (vectors) {
    const int64_t last = (end + width - 1) / width;
#pragma unroll 1
    for (int64_t v = first / width + threadIdx.x; v < last; v += 2 * block_size) {
      in_two_phases<2>(
          v, block_size, last, [&](int64_t i, bool inside) { return load_input(row + i * width, inside); },
          [&](int64_t i, const Vector<T>& loaded) {
#pragma unroll
            for (int w = 0; w < width; ++w) {
              const int64_t place = i * width + w - begin;
              if (place >= 0 && place < count) to[place] = widen(loaded.at[w]);
            }
          });
    }
  } else {
#pragma unroll 4
    for (int64_t i = first + threadIdx.x; i < end; i += block_size) to[i - begin] = widen(row[i]);
  }
  if (begin >= 0 && begin + count <= length) return;
  for (int i = threadIdx.x; i < count; i += block_size) {
    const int64_t place = begin + i;
    if (place < 0 || place >= length) to[i] = repeat ? A(widen(row[place < 0 ? 0 : length - 1])) : A(0);
  }
}

// row[i] = from[i] for i in [0, count).
template <class T>
__device__ __forceinline__ void write(const Accumulate<T>* from, int count, bool vectors, T* row) {
  constexpr int width = Vector<T>::width;
  if (vectors) {
#pragma unroll 1
    for (int i = threadIdx.x * width; i < count; i += block_size * width) {
      Vector<T> result;
#pragma unroll
      for (int w = 0; w < width; ++w) result.at[w] = narrow<T>(from[i + w]);
      store(row + i, result);
    }
  } else {
    for (int i = threadIdx.x; i < count; i += block_size) row[i] = narrow<T>(from[i]);
  }
}

// What the edge of the fine grid has more in the adjoint of D: the sums of the taps that met repeated points.
template <class T>
__device__ __forceinline__ Accumulate<T> edge_gradient(const SnakeShape& shape, const Accumulate<T>* down,
                                                       const T* grad, bool first) {
  using A = Accumulate<T>;
  const int r = shape.ratio, centre = down_centre(shape.down_taps);
  A sum = 0;
  if (first) {
    for (int t = 0; t < shape.length && r * t < centre; ++t) {
      sum += down_before(down, shape.down_taps, r, t) * A(widen(grad[t]));
    }
  } else {
    for (int e = 0; e < shape.length && r * (e + 1) + centre < shape.down_taps; ++e) {
      sum += down_after(down, shape.down_taps, r, e) * A(widen(grad[shape.length - 1 - e]));
    }
  }
  return sum;
}

// The same for the first and the last sample in the adjoint of U. `last`: the row's last place, from the tile's first.
template <class A>
__device__ __forceinline__ A edge_sample(const SnakeShape& shape, const A* up, const A* fine, int stride, int last,
                                         bool first) {
  const int r = shape.ratio, centre = up_centre(shape.up_taps, r);
  A sum = 0;
  if (first) {
    for (int m = 0; m < r * shape.length && m + centre + r < shape.up_taps; ++m) {
      sum += up_before(up, shape.up_taps, r, m) * fine[m % r * stride + m / r];
    }
  } else {
    for (int e = 0; e < r * shape.length && e < centre; ++e) {
      sum += up_after(up, shape.up_taps, r, e) * fine[(r - 1 - e % r) * stride + last - e / r];
    }
  }
  return sum;
}

template <class T, Order order>
__global__ void GANOPS_BOUNDS(is_double<T> ? 1 : 2)
    snake_kernel(const SnakeShape shape, const Tiling tiling, const Pass<T> pass, const bool vectors,
                 const Ticket ticket) {
  using A = Accumulate<T>;
  constexpr bool backward = order != Order::value, twice = order == Order::second;
  __shared__ Filters<A> filters;
  __shared__ A signal[signal_capacity<A>], fine[fine_capacity<A>];
  __shared__ A gradient[backward ? signal_capacity<A> : 1];
  __shared__ A tangent[twice ? signal_capacity<A> : 1], along[twice ? fine_capacity<A> : 1];
  const int r = shape.ratio;
  for (int k = threadIdx.x; k < shape.up_taps; k += block_size) filters.up[k] = A(r) * pass.up[k];
  for (int k = threadIdx.x; k < shape.down_taps; k += block_size) filters.down[k] = pass.down[k];
  for (int s = threadIdx.x; s < r; s += block_size) {
    filters.up_branches[s] = up_branch(s, shape.up_taps, r);
    filters.down_branches[s] = down_branch(s, shape.down_taps, r);
  }
  double* const partial = static_cast<double*>(pass.workspace) + 1;
  const Reach reach = tiling.fine;
  const int64_t units = shape.samples * shape.channels * tiling.count;
  for (int64_t unit = blockIdx.x; unit < units; unit += gridDim.x) {
    const int64_t row = unit / tiling.count, begin = unit % tiling.count * tiling.places;
    const int64_t left = shape.length - begin, offset = row * shape.length;
    const int places = left < tiling.places ? static_cast<int>(left) : tiling.places;
    const int channel = static_cast<int>(row % shape.channels);
    const int before = -(reach.least + tiling.signal.least), count = before + places + reach.most + tiling.signal.most;
    __syncthreads();  // the tile before may still be read
    lay(pass.x + offset, shape.length, begin - before, count, true, vectors, signal);
    if constexpr (backward) lay(pass.grad + offset, shape.length, begin - before, count, false, vectors, gradient);
    if constexpr (twice) lay(pass.tangent + offset, shape.length, begin - before, count, true, vectors, tangent);
    const SnakeParameters<A> p{pass.alpha[channel], pass.q[channel]};
    SnakeParameters<A> direction{};
    if constexpr (twice) direction = {pass.alpha_tangent[channel], pass.q_tangent[channel]};
    __syncthreads();
    A by_alpha = 0, by_q = 0;
    for (int i = reach.least + static_cast<int>(threadIdx.x); i < places + reach.most; i += block_size) {
      const int64_t place = begin + i;
      const bool early = place < 0, late = place >= shape.length;
      // Beyond the row the first and the last point of all are repeated.
      const int at = before + (early ? static_cast<int>(-begin) : late ? static_cast<int>(left) - 1 : i);
      for (int s = 0; s < r; ++s) {
        const int phase = early ? 0 : late ? r - 1 : s, to = s * tiling.stride + i - reach.least;
        const A u = filtered(filters.up_branches[phase], filters.up, signal + at);
        if constexpr (!backward) {
          fine[to] = snake<A>(p, u);
        } else {
          A h = 0;
          if (!early && !late) {
            h = filtered(filters.down_branches[s].adjoint(), filters.down, gradient + at);
            if (place == 0 && s == 0) h += edge_gradient(shape, filters.down, pass.grad + offset, true);
            if (place == shape.length - 1 && s == r - 1) {
              h += edge_gradient(shape, filters.down, pass.grad + offset, false);
            }
          }
          const bool counts = i >= 0 && i < places;
          if constexpr (twice) {
            const A w = filtered(filters.up_branches[phase], filters.up, tangent + at);
            const SnakeCurvature<A, A> curvature(p, direction, u, w);
            along[to] = curvature.along;
            fine[to] = h * curvature.by_u;
            if (counts) by_alpha += h * curvature.by_alpha, by_q += h * curvature.by_q;
          } else {
            const SnakeSlopes<A, A> slopes(p, u);
            fine[to] = h * slopes.by_u(p);
            if (counts) by_alpha += p.q * (h * u * slopes.twice), by_q += h * slopes.square;
          }
        }
      }
    }
    __syncthreads();
    for (int i = threadIdx.x; i < places; i += block_size) {
      const A* const at = fine - reach.least + i;
      if constexpr (order != Order::first) {
        const A* const from = (twice ? along : fine) - reach.least + i;
        A y = 0;
        for (int s = 0; s < r; ++s) y += filtered(filters.down_branches[s], filters.down, from + s * tiling.stride);
        signal[i] = y;
      }
      if constexpr (backward) {
        A y = 0;
        for (int s = 0; s < r; ++s) y += filtered(filters.up_branches[s].adjoint(), filters.up, at + s * tiling.stride);
        if (begin + i == 0) y += edge_sample(shape, filters.up, at, tiling.stride, 0, true);
        if (i == left - 1) y += edge_sample(shape, filters.up, at - i, tiling.stride, i, false);
        gradient[i] = y;
      }
    }
    __syncthreads();
    const int64_t target = offset + begin;
    if constexpr (order != Order::first) write(signal, places, vectors, pass.out + target);
    if constexpr (backward) {
      write(gradient, places, vectors, pass.x_out + target);
      const double alpha_sum = block_sum(double(by_alpha)), q_sum = block_sum(double(by_q));
      if (threadIdx.x == 0) partial[2 * unit] = alpha_sum, partial[2 * unit + 1] = q_sum;
    }
  }
  if constexpr (backward) {
    if (gridDim.x == 1) {
      __syncthreads();
    } else if (!last_block(ticket.counter(pass.workspace))) {
      return;
    }
    for (int64_t channel = threadIdx.x; channel < shape.channels; channel += block_size) {
      LongSum by_alpha, by_q;
      for (int64_t sample = 0; sample < shape.samples; ++sample) {
        const double* const of = partial + 2 * (sample * shape.channels + channel) * tiling.count;
#pragma unroll 4
        for (int tile = 0; tile < tiling.count; ++tile) by_alpha.add(of[2 * tile]), by_q.add(of[2 * tile + 1]);
      }
      pass.alpha_out[channel] = static_cast<A>(by_alpha.value());
      pass.q_out[channel] = static_cast<A>(by_q.value());
    }
  }
}

template <class T>
Tiling tiling_for(const SnakeShape& shape) {
  return Tiling(shape, signal_capacity<Accumulate<T>>, fine_capacity<Accumulate<T>>);
}

template <class T>
Pass<T> pass_of(const SnakeInputs& in) {
  using A = Accumulate<T>;
  Pass<T> pass{};
  pass.x = static_cast<const T*>(in.x);
  pass.alpha = static_cast<const A*>(in.alpha), pass.q = static_cast<const A*>(in.q);
  pass.up = static_cast<const A*>(in.up), pass.down = static_cast<const A*>(in.down);
  return pass;
}

template <class T, Order order>
void run(Stream stream, const SnakeShape& shape, Pass<T> pass, const SnakeGradients& out, void* workspace) {
  using A = Accumulate<T>;
  const Tiling tiling = tiling_for<T>(shape);
  pass.x_out = static_cast<T*>(out.x);
  pass.alpha_out = static_cast<A*>(out.alpha), pass.q_out = static_cast<A*>(out.q);
  pass.workspace = workspace;
  const int64_t units = shape.rows() * tiling.count, blocks = units > 1 ? smaller(units, max_blocks) : 1;
  const bool vectors =
      shape.length % Vector<T>::width == 0 && aligned(pass.x, pass.grad, pass.tangent, pass.out, pass.x_out);
  const bool counts = order != Order::value && blocks > 1;
  launch(snake_kernel<T, order>, blocks, block_size, stream, shape, tiling, pass, vectors,
         counts ? draw_ticket(stream, workspace) : Ticket());
}

int64_t workspace(DType dtype, const SnakeShape& shape) {
  int64_t tiles = 0;
  with_type(dtype, [&](auto type) { tiles = tiling_for<decltype(type)>(shape).count; });
  return (1 + 2 * shape.rows() * tiles) * static_cast<int64_t>(sizeof(double));
}

void forward(Stream stream, DType dtype, const SnakeShape& shape, const SnakeInputs& in, void* out) {
  with_type(dtype, [&](auto type) {
    using T = decltype(type);
    Pass<T> pass = pass_of<T>(in);
    pass.out = static_cast<T*>(out);
    run<T, Order::value>(stream, shape, pass, {}, nullptr);
  });
}

void backward(Stream stream, DType dtype, const SnakeShape& shape, const void* grad, const SnakeInputs& in,
              const SnakeGradients& out, void* workspace) {
  with_type(dtype, [&](auto type) {
    using T = decltype(type);
    Pass<T> pass = pass_of<T>(in);
    pass.grad = static_cast<const T*>(grad);
    run<T, Order::first>(stream, shape, pass, out, workspace);
  });
}

void double_backward(Stream stream, DType dtype, const SnakeShape& shape, const SnakeTangents& tangents,
                     const void* grad, const SnakeInputs& in, void* grad_out, const SnakeGradients& out,
                     void* workspace) {
  with_type(dtype, [&](auto type) {
    using T = decltype(type);
    using A = Accumulate<T>;
    Pass<T> pass = pass_of<T>(in);
    pass.grad = static_cast<const T*>(grad), pass.tangent = static_cast<const T*>(tangents.x);
    pass.alpha_tangent = static_cast<const A*>(tangents.alpha), pass.q_tangent = static_cast<const A*>(tangents.q);
    pass.out = static_cast<T*>(grad_out);
    run<T, Order::second>(stream, shape, pass, out, workspace);
  });
}

}  // namespace

extern const FilteredSnakeKernels filtered_snake{workspace, forward, backward, double_backward};

}  // namespace ganops::cuda
