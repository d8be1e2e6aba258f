// Minibatch discrimination on the GPU: one launch for each sum, and one for closeness and slope together.
//
// A block takes 64 samples i of one comparison and, for the slope, up to 16 of its dimensions (8 in double). It goes
// over all samples j in tiles of 64, which lie in shared memory beside its own. A thread has one i and a quarter of the
// tile's j, 16 pairs, whose distances it holds in registers over all dimensions, as many at a time. What it gathers for
// its i stays in registers to the end, where the four quarters are added in their order: no atomics, and no memory
// beyond the tiles. Each block thus meets the pairs of its own samples; to share (i, j) with (j, i) would take atomics
// or a tensor of partial sums per tile.
#include "../math/minibatch_discrimination.h"

#include "../kernels/minibatch_discrimination.h"
#include "vector.cuh"

namespace ganops::cuda {
namespace {

constexpr int side = 64;
constexpr int quarters = block_size / side, pairs = side / quarters;

// Dimensions of a tile, and of the slope that a thread holds; registers do not hold 16 doubles of it beside the pairs.
template <class A>
constexpr int depth_of = 64 / sizeof(A);

template <class A>
using Tile = A[depth_of<A>][side];

template <class T>
struct Pairs {
  Comparisons all;
  const T *m, *tangents, *grad;
  T *closeness, *slope;
  bool vectors;

  __host__ __device__ int64_t tiles() const { return (all.samples + side - 1) / side; }
  __host__ __device__ int64_t parts() const {
    constexpr int depth = depth_of<Accumulate<T>>;
    return slope && all.dimensions > depth ? (all.dimensions + depth - 1) / depth : 1;
  }
};

// Dimensions from `first` on of samples from `begin` on, of the (dimensions, samples) at `from`; 0 beyond either end.
template <class T>
__device__ __forceinline__ void load_tile(const Pairs<T>& p, const T* from, int64_t first, int64_t begin,
                                          Tile<Accumulate<T>>& tile) {
  constexpr int depth = depth_of<Accumulate<T>>, width = Vector<T>::width, row = side / width;
  const int64_t samples = p.all.samples;
#pragma unroll
  for (int v = threadIdx.x; v < depth * row; v += block_size) {
    const int c = v / row, at = v % row * width;
    const int64_t sample = begin + at, place = (first + c) * samples + sample;
    const bool inside = first + c < p.all.dimensions;
    if (p.vectors && inside && sample < samples) {
      const Vector<T> x = load_input(from + place);
#pragma unroll
      for (int j = 0; j < width; ++j) tile[c][at + j] = widen(x.at[j]);
    } else {
#pragma unroll 1
      for (int j = 0; j < width; ++j) {
        tile[c][at + j] = inside && sample + j < samples ? widen(from[place + j]) : Accumulate<T>(0);
      }
    }
  }
}

template <class T, bool with_slope>
__device__ __forceinline__ void sum_pairs(const Pairs<T>& p) {
  using A = Accumulate<T>;
  constexpr int depth = depth_of<A>;
  alignas(16) __shared__ A tiles[4][depth][side];  // m of i, m of j, a tangent of i, of j; at last the quarters' sums
  __shared__ A grad_of_others[side];
  auto& own = tiles[0];
  auto& other = tiles[1];
  const int column = threadIdx.x % side, quarter = threadIdx.x / side;
  const int64_t samples = p.all.samples, dimensions = p.all.dimensions, count = p.all.count;
  const int64_t units = count * p.tiles() * p.parts();

#pragma unroll 1
  for (int64_t unit = blockIdx.x; unit < units; unit += gridDim.x) {
    const int64_t part = unit % p.parts(), tile = unit / p.parts() % p.tiles(), b = unit / p.parts() / p.tiles();
    const int64_t first = tile * side, i = first + column;
    const T* m = p.m + b * dimensions * samples;
    const A grad = with_slope && i < samples ? A(widen(p.grad[i * count + b])) : A(0);
    A closeness = 0, slope[depth] = {};
    int64_t own_holds = -1, other_holds = -1;

#pragma unroll 1
    for (int64_t begin = 0; begin < samples; begin += side) {
      const auto bring = [&](int64_t dimension) {
        if (own_holds == dimension && other_holds == dimension) return;
        __syncthreads();
        if (own_holds != dimension) load_tile(p, m, dimension, first, own);
        load_tile(p, m, dimension, begin, other);
        __syncthreads();
        own_holds = other_holds = dimension;
      };
      other_holds = -1;
      const int64_t mine = begin + quarter * pairs;
      const bool busy = i < samples && mine < samples;

      A k[pairs] = {};
#pragma unroll 1
      for (int64_t dimension = 0; dimension < dimensions; dimension += depth) {
        bring(dimension);
        const int n = dimensions - dimension < depth ? static_cast<int>(dimensions - dimension) : depth;
#pragma unroll 1
        for (int c = 0; busy && c < n; ++c) {
          const A x = own[c][column];
#pragma unroll
          for (int j = 0; j < pairs; ++j) k[j] += absolute(other[c][quarter * pairs + j] - x);
        }
      }
#pragma unroll
      for (int j = 0; j < pairs; ++j) k[j] = exponential_nonpositive(-k[j]);

#pragma unroll 1
      for (int64_t tangent = 0; tangent < p.all.tangents; ++tangent) {
        const T* t = p.tangents + (tangent * count + b) * dimensions * samples;
        A q[pairs] = {};
#pragma unroll 1
        for (int64_t dimension = 0; dimension < dimensions; dimension += depth) {
          bring(dimension);
          __syncthreads();
          load_tile(p, t, dimension, first, tiles[2]);
          load_tile(p, t, dimension, begin, tiles[3]);
          __syncthreads();
          const int n = dimensions - dimension < depth ? static_cast<int>(dimensions - dimension) : depth;
#pragma unroll 1
          for (int c = 0; busy && c < n; ++c) {
            const A x = own[c][column], along = tiles[2][c][column];
#pragma unroll
            for (int j = 0; j < pairs; ++j) {
              const int at = quarter * pairs + j;
              q[j] += toward(other[c][at] - x, along - tiles[3][c][at]);
            }
          }
        }
#pragma unroll
        for (int j = 0; j < pairs; ++j) k[j] *= q[j];
      }

#pragma unroll
      for (int j = 0; j < pairs; ++j) {
        k[j] = busy && mine + j < samples && mine + j != i ? k[j] : A(0);
        closeness += k[j];
      }
      if constexpr (with_slope) {
        __syncthreads();
        if (threadIdx.x < side) {
          const int64_t j = begin + threadIdx.x;
          grad_of_others[threadIdx.x] = j < samples ? A(widen(p.grad[j * count + b])) : A(0);
        }
        __syncthreads();
#pragma unroll
        for (int j = 0; j < pairs; ++j) {
          const bool meets = busy && mine + j < samples && mine + j != i;
          k[j] = meets ? k[j] * (grad + grad_of_others[quarter * pairs + j]) : A(0);
        }
        if (dimensions > 0) bring(part * depth);
#pragma unroll
        for (int c = 0; c < depth; ++c) {
          if (busy && part * depth + c < dimensions) {
            const A x = own[c][column];
#pragma unroll
            for (int j = 0; j < pairs; ++j) slope[c] += toward(other[c][quarter * pairs + j] - x, k[j]);
          }
        }
      }
    }

    if (p.closeness && part == 0) {
      __syncthreads();
      tiles[quarter][0][column] = closeness;
      __syncthreads();
      if (quarter == 0 && i < samples) {
        A sum = 0;
#pragma unroll
        for (int s = 0; s < quarters; ++s) sum += tiles[s][0][column];
        p.closeness[i * count + b] = narrow<T>(sum);
      }
    }
    if constexpr (with_slope) {
      __syncthreads();
#pragma unroll
      for (int c = 0; c < depth; ++c) tiles[quarter][c][column] = slope[c];
      __syncthreads();
      constexpr int width = Vector<T>::width, row = side / width;
#pragma unroll 1
      for (int v = threadIdx.x; v < depth * row; v += block_size) {
        const int c = v / row, at = v % row * width;
        const int64_t dimension = part * depth + c, sample = first + at;
        if (dimension >= dimensions || sample >= samples) continue;
        T* out = p.slope + (b * dimensions + dimension) * samples + sample;
        Vector<T> sums;
#pragma unroll
        for (int j = 0; j < width; ++j) {
          A sum = 0;
#pragma unroll
          for (int s = 0; s < quarters; ++s) sum += tiles[s][c][at + j];
          sums.at[j] = narrow<T>(sum);
        }
        if (p.vectors) {
          store(out, sums);
        } else {
#pragma unroll
          for (int j = 0; j < width; ++j) {
            if (sample + j < samples) out[j] = sums.at[j];
          }
        }
      }
    }
    __syncthreads();  // the tiles are free for the next unit
  }
}

template <class T>
__global__ void GANOPS_BOUNDS(is_double<T> ? 1 : 2) closeness_kernel(const Pairs<T> p) {
  sum_pairs<T, false>(p);
}

template <class T>
__global__ void GANOPS_BOUNDS(is_double<T> ? 1 : 2) slope_kernel(const Pairs<T> p) {
  sum_pairs<T, true>(p);
}

int64_t workspace(DType, Comparisons, bool) { return 0; }

void sums(Stream stream, DType dtype, Comparisons all, const void* m, const void* tangents, const void* grad,
          void* closeness, void* slope, void*) {
  with_type(dtype, [&](auto type) {
    using T = decltype(type);
    const bool vectors = all.samples % Vector<T>::width == 0 && aligned(m, tangents, slope);
    const Pairs<T> p{all,
                     static_cast<const T*>(m),
                     static_cast<const T*>(tangents),
                     static_cast<const T*>(grad),
                     static_cast<T*>(closeness),
                     static_cast<T*>(slope),
                     vectors};
    launch(slope ? slope_kernel<T> : closeness_kernel<T>, all.count * p.tiles() * p.parts(), block_size, stream, p);
  });
}

}  // namespace

extern const MinibatchDiscriminationKernels minibatch_discrimination{workspace, sums};

}  // namespace ganops::cuda
