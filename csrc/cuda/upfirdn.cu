// Resampling by a filter on the GPU, one launch.
//
// Planes: a block takes a tile of the output, of small planes several. All its threads first load their vectors of the
// input that the tile reads, then lay them into shared memory between the zeros of the padding. From there the sums
// along x go into shared memory, in as many rows as the input has, and from these the sums along y into the output,
// again by vectors. A filter that is a matrix takes both sums at once. A plane that fits is read once.
//
// Where channels lie side by side, a thread takes a vector of channels of one output pixel; what neighbours read too
// comes from the first-level cache.
#include "../math/upfirdn.h"

#include "../kernels/upfirdn.h"
#include "vector.cuh"

namespace ganops::cuda {
namespace {

// Bytes of shared memory for the input and for the sums along x; numbers of a matrix that is kept there too.
constexpr int tile_bytes = 20480, kept_matrix = 512;

template <class T>
constexpr int in_capacity = tile_bytes / sizeof(T);
template <class T>
constexpr int sum_capacity = tile_bytes / sizeof(Accumulate<T>);

struct Tiling {
  int width, height, planes;  // of the output
  int in_width, in_height;    // of the input that it reads, the width in whole vectors
  int64_t columns, rows, groups, all_planes;

  GANOPS_INLINE int64_t count() const { return columns * rows * groups; }
};

// Elements along an axis that `outputs` of it read at most.
GANOPS_INLINE int64_t reach(const Axis& axis, int64_t outputs) {
  return ((outputs - 1) * axis.down + axis.taps - 1) / axis.up + 2;
}

template <class T>
Tiling tiling_for(const Resampling& how) {
  constexpr int vector = Vector<T>::width;
  const auto in_width = [&](int64_t width) { return divide_up(reach(how.x, width) + vector, vector) * vector; };
  const auto fits = [&](int64_t height, int64_t width, int64_t planes) {
    const int64_t rows = reach(how.y, height) * planes;
    return rows * in_width(width) <= in_capacity<T> && rows * width <= sum_capacity<T>;
  };
  int64_t width = divide_up(how.x.out, vector) * vector, height = how.y.out, planes = 1;
  // Wide tiles first: rows at their edges are read twice, and so are the columns.
  while (width > vector && !fits(smaller(height, 16), width, 1)) width = divide_up(width / 2, vector) * vector;
  while (!fits(height, width, 1)) height = divide_up(height, 2);
  Tiling tiling;
  tiling.columns = divide_up(how.x.out, width), tiling.rows = divide_up(how.y.out, height);
  if (tiling.columns * tiling.rows == 1) {
    const int64_t most = how.planes() / (2 * resident_blocks());
    while (planes < most && fits(height, width, 2 * planes)) planes *= 2;
  }
  tiling.groups = divide_up(how.planes(), planes), tiling.all_planes = how.planes();
  tiling.width = width, tiling.height = height, tiling.planes = planes;
  tiling.in_width = in_width(width), tiling.in_height = reach(how.y, height);
  return tiling;
}

// Where a tile's outputs and inputs begin. Columns of the input begin where a vector does.
struct Origin {
  int64_t plane, row, column, in_row, in_column;

  __device__ __forceinline__ Origin(const Tiling& tiling, const Resampling& how, int64_t tile, int vector) {
    column = tile % tiling.columns * tiling.width;
    row = tile / tiling.columns % tiling.rows * tiling.height;
    plane = tile / (tiling.columns * tiling.rows) * tiling.planes;
    in_row = meeting(how.y, row).element;
    const int64_t first = meeting(how.x, column).element;
    in_column = first - (first % vector + vector) % vector;
  }
};

// Lays the tile's input into shared memory, plane by plane and row by row, with zeros where there is none.
template <class T>
__device__ __forceinline__ void lay_input(const Tiling& tiling, const Resampling& how, const Origin& at, const T* in,
                                          bool vectors, T* tile) {
  constexpr int width = Vector<T>::width, each = tile_bytes / 16 / block_size;
  const auto source = [&](int place, bool& inside) {
    const int line = place / tiling.in_width, plane = line / tiling.in_height;
    const int64_t i = at.in_row + (line - plane * tiling.in_height),
                  j = at.in_column + (place - line * tiling.in_width);
    inside = plane < tiling.planes && at.plane + plane < tiling.all_planes && i >= 0 && i < how.y.in && j >= 0 &&
             j < how.x.in;
    return in + ((at.plane + plane) * how.y.in + i) * how.x.in + j;
  };
  const int count = tiling.planes * tiling.in_height * tiling.in_width;
  if (vectors) {
    Vector<T> loaded[each];
#pragma unroll
    for (int v = 0; v < each; ++v) {
      bool inside;
      const T* const address = source((v * block_size + threadIdx.x) * width, inside);
      if (inside) {
        loaded[v] = load(address);
      } else {
#pragma unroll
        for (int q = 0; q < width; ++q) loaded[v].at[q] = narrow<T>(0);
      }
    }
#pragma unroll
    for (int v = 0; v < each; ++v) {
      const int place = (v * block_size + threadIdx.x) * width;
      if (place < count) *reinterpret_cast<Vector<T>*>(tile + place) = loaded[v];
    }
  } else {
#pragma unroll 4
    for (int place = threadIdx.x; place < count; place += block_size) {
      bool inside;
      const T* const address = source(place, inside);
      tile[place] = inside ? *address : narrow<T>(0);
    }
  }
}

// Calls write(plane, row, column, …) for the tile's outputs: of `value(plane, row, column)` in vectors or one by one.
template <class T, class Value>
__device__ __forceinline__ void write_tile(const Tiling& tiling, const Resampling& how, const Origin& at, T* out,
                                           bool vectors, const Value& value) {
  constexpr int width = Vector<T>::width;
  const int step = vectors ? width : 1, row = tiling.width / step, count = tiling.planes * tiling.height * row;
  for (int place = threadIdx.x; place < count; place += block_size) {
    const int line = place / row, plane = line / tiling.height;
    const int i = line - plane * tiling.height, j = (place - line * row) * step;
    if (at.plane + plane >= tiling.all_planes || at.row + i >= how.y.out || at.column + j >= how.x.out) continue;
    T* const to = out + ((at.plane + plane) * how.y.out + at.row + i) * how.x.out + at.column + j;
    if (vectors) {
      Vector<T> result;
      Accumulate<T> sums[width];
      value(plane, i, j, sums);
#pragma unroll
      for (int q = 0; q < width; ++q) result.at[q] = narrow<T>(sums[q]);
      store(to, result);
    } else {
      Accumulate<T> sums[1];
      value(plane, i, j, sums);
      *to = narrow<T>(sums[0]);
    }
  }
}

template <class T>
__global__ void GANOPS_BOUNDS(is_double<T> ? 1 : 2)
    separable_kernel(const Tiling tiling, const Resampling how, const T* in, const Accumulate<T>* filter, T* out,
                     const bool read_vectors, const bool write_vectors) {
  using A = Accumulate<T>;
  alignas(16) __shared__ T tile[in_capacity<T>];
  alignas(16) __shared__ A summed[sum_capacity<T>];
  __shared__ A along_y[most_taps], along_x[most_taps];
  for (int64_t number = blockIdx.x; number < tiling.count(); number += gridDim.x) {
    const Origin at(tiling, how, number, Vector<T>::width);
    __syncthreads();  // the tile before may still be read
    if (threadIdx.x < how.x.taps) along_x[threadIdx.x] = filter[tap_place(threadIdx.x, how.x.taps, how.flip)];
    if (threadIdx.x < how.y.taps) {
      const A gain = how.gain;
      along_y[threadIdx.x] = how.y.taps > 1 ? gain * filter[tap_place(threadIdx.x, how.y.taps, how.flip)] : gain;
    }
    lay_input(tiling, how, at, in, read_vectors, tile);
    __syncthreads();
    const int rows = tiling.planes * tiling.in_height;
    for (int place = threadIdx.x; place < rows * tiling.width; place += block_size) {
      const int line = place / tiling.width;
      const Meeting first = meeting(how.x, at.column + (place - line * tiling.width));
      const T* x = tile + line * tiling.in_width + (first.element - at.in_column);
      A sum = 0;
      for (int k = first.tap; k < how.x.taps; k += how.x.up) sum += along_x[k] * A(widen(*x++));
      summed[place] = sum;
    }
    __syncthreads();
    write_tile(tiling, how, at, out, write_vectors, [&](int plane, int i, int j, auto& sums) {
      constexpr int width = sizeof(sums) / sizeof(A);
      const Meeting first = meeting(how.y, at.row + i);
      const A* x = summed + (plane * tiling.in_height + (first.element - at.in_row)) * tiling.width + j;
#pragma unroll
      for (int q = 0; q < width; ++q) sums[q] = 0;
      for (int k = first.tap; k < how.y.taps; k += how.y.up, x += tiling.width) {
        const A c = along_y[k];
#pragma unroll
        for (int q = 0; q < width; ++q) sums[q] += c * x[q];
      }
    });
  }
}

template <class T>
__global__ void GANOPS_BOUNDS(is_double<T> ? 1 : 2)
    matrix_kernel(const Tiling tiling, const Resampling how, const T* in, const Accumulate<T>* filter, T* out,
                  const bool read_vectors, const bool write_vectors) {
  using A = Accumulate<T>;
  alignas(16) __shared__ T tile[in_capacity<T>];
  __shared__ A matrix[kept_matrix];
  const int numbers = how.y.taps * how.x.taps;
  const bool kept = numbers <= kept_matrix;
  for (int64_t number = blockIdx.x; number < tiling.count(); number += gridDim.x) {
    const Origin at(tiling, how, number, Vector<T>::width);
    __syncthreads();  // the tile before may still be read
    for (int i = threadIdx.x; kept && i < numbers; i += block_size) matrix[i] = filter[i];
    lay_input(tiling, how, at, in, read_vectors, tile);
    __syncthreads();
    const A* const f = kept ? matrix : filter;
    write_tile(tiling, how, at, out, write_vectors, [&](int plane, int i, int j, auto& sums) {
      constexpr int width = sizeof(sums) / sizeof(A);
      const Meeting first = meeting(how.y, at.row + i);
      const T* const row = tile + (plane * tiling.in_height + (first.element - at.in_row)) * tiling.in_width;
#pragma unroll
      for (int q = 0; q < width; ++q) {
        const Meeting start = meeting(how.x, at.column + j + q);
        const T* x = row + (start.element - at.in_column);
        A sum = 0;
        for (int a = first.tap; a < how.y.taps; a += how.y.up, x += tiling.in_width) {
          const int line = tap_place(a, how.y.taps, how.flip) * how.x.taps, back = how.flip ? 0 : how.x.taps - 1;
          const T* element = x;
          for (int b = start.tap; b < how.x.taps; b += how.x.up, ++element) {
            sum += f[line + (how.flip ? b : back - b)] * A(widen(*element));
          }
        }
        sums[q] = A(how.gain) * sum;
      }
    });
  }
}

// One output pixel's sums of `width` channels, from `channel` on.
template <int width, class T>
__device__ __forceinline__ void sum_channels(const Resampling& how, const T* in, const Accumulate<T>* filter,
                                             int64_t pixel, int64_t channel, T* out) {
  using A = Accumulate<T>;
  const int64_t line = pixel / how.x.out, column = pixel - line * how.x.out;
  const int64_t sample = line / how.y.out, row = line - sample * how.y.out;
  const Meeting first = meeting(how.y, row), start = meeting(how.x, column);
  A sums[width] = {};
  for (int64_t a = first.tap, i = first.element; a < how.y.taps; a += how.y.up, ++i) {
    if (i < 0 || i >= how.y.in) continue;
    const int64_t y = tap_place(a, how.y.taps, how.flip);
    for (int64_t b = start.tap, j = start.element; b < how.x.taps; b += how.x.up, ++j) {
      if (j < 0 || j >= how.x.in) continue;
      const int64_t x = tap_place(b, how.x.taps, how.flip);
      const A c = !how.separable ? filter[y * how.x.taps + x] : how.y.taps > 1 ? filter[y] * filter[x] : filter[x];
      const T* const from = in + ((sample * how.y.in + i) * how.x.in + j) * how.channels + channel;
      if constexpr (width > 1) {
        const Vector<T> v = load(from);
#pragma unroll
        for (int q = 0; q < width; ++q) sums[q] += c * A(widen(v.at[q]));
      } else {
        sums[0] += c * A(widen(*from));
      }
    }
  }
  T* const to = out + pixel * how.channels + channel;
  if constexpr (width > 1) {
    Vector<T> v;
#pragma unroll
    for (int q = 0; q < width; ++q) v.at[q] = narrow<T>(A(how.gain) * sums[q]);
    store(to, v);
  } else {
    *to = narrow<T>(A(how.gain) * sums[0]);
  }
}

template <class T>
__global__ void GANOPS_BOUNDS(is_double<T> ? 1 : 2)
    channels_kernel(const Resampling how, const T* in, const Accumulate<T>* filter, T* out, const bool vectors) {
  constexpr int width = Vector<T>::width;
  const int64_t groups = vectors ? how.channels / width : how.channels;
  const int64_t count = how.samples * how.y.out * how.x.out * groups;
  for (int64_t place = int64_t(blockIdx.x) * block_size + threadIdx.x; place < count;
       place += int64_t(gridDim.x) * block_size) {
    const int64_t pixel = place / groups, group = place - pixel * groups;
    vectors ? sum_channels<width>(how, in, filter, pixel, group * width, out)
            : sum_channels<1>(how, in, filter, pixel, group, out);
  }
}

void apply(Stream stream, DType dtype, const Resampling& how, const void* in, const void* filter, void* out) {
  with_type(dtype, [&](auto type) {
    using T = decltype(type);
    constexpr int width = Vector<T>::width;
    const T* x = static_cast<const T*>(in);
    T* y = static_cast<T*>(out);
    const auto* f = static_cast<const Accumulate<T>*>(filter);
    if (how.channels_last) {
      const bool vectors = how.channels % width == 0 && aligned(x, y);
      const int64_t threads = how.planes() * how.y.out * how.x.out / (vectors ? width : 1);
      return launch(channels_kernel<T>, divide_up(threads, block_size), block_size, stream, how, x, f, y, vectors);
    }
    const Tiling tiling = tiling_for<T>(how);
    const auto kernel = how.separable ? separable_kernel<T> : matrix_kernel<T>;
    launch(kernel, tiling.count(), block_size, stream, tiling, how, x, f, y, how.x.in % width == 0 && aligned(x),
           how.x.out % width == 0 && aligned(y));
  });
}

}  // namespace

extern const UpfirdnKernels upfirdn{apply};

}  // namespace ganops::cuda
