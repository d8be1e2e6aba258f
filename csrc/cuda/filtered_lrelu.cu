// The leaky ReLU on a finer grid, on the GPU, one launch for each form.
//
// A block takes a tile of a plane's output: what the tile reads of the input into shared memory, sums along x and then
// along y to the fine grid there, the activation, sums along x and then along y down from it. A second signal takes the
// same way up and meets the first on the fine grid. Tiles read what they share with their neighbours again, out of the
// cache; a plane of one tile is read once. The sums over a channel are those of the tiles, which the block that ends
// last adds in their order.
#include "../math/filtered_lrelu.h"

#include "../kernels/filtered_lrelu.h"
#include "../math/upfirdn.h"
#include "reduce.cuh"
#include "ticket.cuh"
#include "vector.cuh"

namespace ganops::cuda {
namespace {

// Room for the input, for sums along x, and for the fine grid of a tile.
constexpr int input_bytes = 17920, line_bytes = 11264, fine_bytes = 14848;
template <class A, int bytes>
constexpr int room = bytes / sizeof(A);

// Places along an axis that `outputs` of it read at most.
GANOPS_INLINE int64_t reach(const Axis& axis, int64_t outputs) {
  return ((outputs - 1) * axis.down + axis.taps - 1) / axis.up + 2;
}

struct Tiling {
  int width, height;
  int64_t columns, rows;

  template <class A>
  void choose(const FilteredLrelu& how, bool two) {
    const auto fits = [&](int64_t w, int64_t h) {
      const int64_t fine_w = (w - 1) * how.down.x.down + how.down.x.taps,
                    fine_h = (h - 1) * how.down.y.down + how.down.y.taps;
      bool so = fine_w * fine_h <= room<A, fine_bytes> && fine_h * w <= room<A, line_bytes>;
      for (const Resampling* part : {&how.up, &how.second}) {
        if (part == &how.second && !two) continue;
        const int64_t in_h = reach(part->y, fine_h);
        so = so && in_h * reach(part->x, fine_w) <= room<A, input_bytes> && in_h * fine_w <= room<A, line_bytes>;
      }
      return so;
    };
    width = height = 32;
    while (width > 1 && width / 2 >= how.down.x.out) width /= 2;
    while (height > 1 && height / 2 >= how.down.y.out) height /= 2;
    while (!fits(width, height) && (width > 1 || height > 1)) height >= width ? height /= 2 : width /= 2;
    columns = divide_up(how.down.x.out, width), rows = divide_up(how.down.y.out, height);
  }

  GANOPS_INLINE int64_t count() const { return columns * rows; }
};

// A stretch of an axis, none of it outside of the axis.
struct Range {
  int64_t begin;
  int count;
};

// What `outputs` from `first` on read of an axis, within it.
GANOPS_INLINE Range range_of(const Axis& axis, int64_t first, int64_t outputs) {
  const int64_t begin = meeting(axis, first).element,
                last = (first + outputs - 1) * axis.down - axis.padding + axis.taps - 1;
  const int64_t end = last < 0 ? 0 : last / axis.up + 1;
  const int64_t from = begin < 0 ? 0 : begin, to = end < axis.in ? end : axis.in;
  return {from, from < to ? static_cast<int>(to - from) : 0};
}

// Σ over the taps that meet elements [range.begin, range.begin + range.count) at output o; x[i] is the i-th of them.
template <class A, class Element>
__device__ __forceinline__ A sum_at(const Axis& axis, const Range& range, const A* taps, int64_t o,
                                    const Element& element) {
  const Meeting first = meeting(axis, o);
  int place = static_cast<int>(first.element - range.begin), k = static_cast<int>(first.tap);
  const int step = static_cast<int>(axis.up), count = static_cast<int>(axis.taps);
  A sum = 0;
  for (; k < count && place < range.count; k += step, ++place) {
    if (place >= 0) sum += taps[k] * element(place);
  }
  return sum;
}

// The taps of a filter in correlation order.
template <class A>
__device__ __forceinline__ void lay_taps(const Resampling& how, const A* filter, A* to) {
  for (int k = threadIdx.x; k < how.x.taps; k += block_size) to[k] = filter[tap_place(k, how.x.taps, how.flip)];
}

// The fine grid [y, x) above a plane: at(row, column, value) for each of its points. All threads; ends with none in
// the input or the lines.
template <class T, class At>
__device__ __forceinline__ void rise(const Resampling& how, const T* plane, Accumulate<T> bias,
                                     const Accumulate<T>* taps, const Range& y, const Range& x, Accumulate<T>* input,
                                     Accumulate<T>* lines, const At& at) {
  using A = Accumulate<T>;
  const Range rows = range_of(how.y, y.begin, y.count), columns = range_of(how.x, x.begin, x.count);
#pragma unroll 4
  for (int i = threadIdx.x; i < rows.count * columns.count; i += block_size) {
    const int row = i / columns.count, column = i - row * columns.count;
    input[i] = A(widen(plane[(rows.begin + row) * how.x.in + columns.begin + column])) + bias;
  }
  __syncthreads();
  for (int i = threadIdx.x; i < rows.count * x.count; i += block_size) {
    const int row = i / x.count, column = i - row * x.count;
    const A* const line = input + row * columns.count;
    lines[i] = sum_at(how.x, columns, taps, x.begin + column, [&](int place) { return line[place]; });
  }
  __syncthreads();
  for (int i = threadIdx.x; i < y.count * x.count; i += block_size) {
    const int row = i / x.count, column = i - row * x.count;
    const A sum = sum_at(how.y, rows, taps, y.begin + row, [&](int place) { return lines[place * x.count + column]; });
    at(i, A(how.gain) * sum);
  }
  __syncthreads();
}

template <class T>
struct Pass {
  using A = Accumulate<T>;
  const T *x, *second;
  const A *bias, *second_bias, *up_filter, *second_filter, *down_filter;
  T* out;
  A* sums;
  void* workspace;  // the count for who has no ticket, then a sum of each tile
};

template <class T, bool two>
__global__ void GANOPS_BOUNDS(is_double<T> ? 1 : 2)
    lrelu_kernel(const FilteredLrelu how, const Tiling tiling, const Pass<T> pass, const Ticket ticket) {
  using A = Accumulate<T>;
  __shared__ A input[room<A, input_bytes>], lines[room<A, line_bytes>], fine[room<A, fine_bytes>];
  __shared__ A up_taps[most_lrelu_taps], second_taps[two ? most_lrelu_taps : 1], down_taps[most_lrelu_taps];
  lay_taps(how.up, pass.up_filter, up_taps);
  if constexpr (two) lay_taps(how.second, pass.second_filter, second_taps);
  lay_taps(how.down, pass.down_filter, down_taps);
  const Leaky<A> leaky{A(how.gain), A(how.gain * how.slope), A(how.clamp), how.clamp >= 0};
  double* const partial = static_cast<double*>(pass.workspace) + 1;
  const Axis &out_x = how.down.x, &out_y = how.down.y;
  const int64_t units = how.up.samples * how.up.channels * tiling.count();
  for (int64_t unit = blockIdx.x; unit < units; unit += gridDim.x) {
    const int64_t plane = unit / tiling.count(), part = unit % tiling.count();
    const int64_t row = part / tiling.columns * tiling.height, column = part % tiling.columns * tiling.width;
    const int height = static_cast<int>(out_y.out - row < tiling.height ? out_y.out - row : tiling.height);
    const int width = static_cast<int>(out_x.out - column < tiling.width ? out_x.out - column : tiling.width);
    const Range y = range_of(out_y, row, height), x = range_of(out_x, column, width);
    const int64_t channel = plane % how.up.channels;
    __syncthreads();  // the tile before may still be read
    rise<T>(how.up, pass.x + plane * how.up.y.in * how.up.x.in, pass.bias[channel], up_taps, y, x, input, lines,
            [&](int i, A u) { fine[i] = two ? leaky.slope(u) : leaky.value(u); });
    if constexpr (two) {
      rise<T>(how.second, pass.second + plane * how.second.y.in * how.second.x.in,
              pass.second_bias ? pass.second_bias[channel] : A(0), second_taps, y, x, input, lines,
              [&](int i, A w) { fine[i] *= w; });
    }
    for (int i = threadIdx.x; i < y.count * width; i += block_size) {
      const int line = i / width, at = i - line * width;
      const A* const from = fine + line * x.count;
      lines[i] = sum_at(out_x, x, down_taps, column + at, [&](int place) { return from[place]; });
    }
    __syncthreads();
    A sum = 0;
    for (int i = threadIdx.x; i < height * width; i += block_size) {
      const int line = i / width, at = i - line * width;
      const A value = A(how.down.gain) *
                      sum_at(out_y, y, down_taps, row + line, [&](int place) { return lines[place * width + at]; });
      pass.out[(plane * out_y.out + row + line) * out_x.out + column + at] = narrow<T>(value);
      sum += value;
    }
    if (pass.sums) {
      const double total = block_sum(double(sum));
      if (threadIdx.x == 0) partial[unit] = total;
    }
  }
  if (!pass.sums) return;
  if (gridDim.x == 1) {
    __syncthreads();
  } else if (!last_block(ticket.counter(pass.workspace))) {
    return;
  }
  for (int64_t channel = threadIdx.x; channel < how.up.channels; channel += block_size) {
    LongSum total;
    for (int64_t sample = 0; sample < how.up.samples; ++sample) {
      const double* const of = partial + (sample * how.up.channels + channel) * tiling.count();
#pragma unroll 4
      for (int64_t tile = 0; tile < tiling.count(); ++tile) total.add(of[tile]);
    }
    pass.sums[channel] = static_cast<A>(total.value());
  }
}

template <class T>
Tiling tiling_for(const FilteredLrelu& how, bool two) {
  Tiling tiling;
  tiling.choose<Accumulate<T>>(how, two);
  return tiling;
}

int64_t workspace(DType dtype, const FilteredLrelu& how) {
  int64_t tiles = 0;
  with_type(dtype, [&](auto type) { tiles = tiling_for<decltype(type)>(how, true).count(); });
  return (1 + how.planes() * tiles) * static_cast<int64_t>(sizeof(double));
}

void apply(Stream stream, DType dtype, const FilteredLrelu& how, const LreluInputs& in, void* out, void* sums,
           void* workspace) {
  with_type(dtype, [&](auto type) {
    using T = decltype(type);
    using A = Accumulate<T>;
    const auto numbers = [](const void* of) { return static_cast<const A*>(of); };
    const Pass<T> pass{static_cast<const T*>(in.x),
                       static_cast<const T*>(in.second),
                       numbers(in.bias),
                       numbers(in.second_bias),
                       numbers(in.up_filter),
                       numbers(in.second_filter),
                       numbers(in.down_filter),
                       static_cast<T*>(out),
                       static_cast<A*>(sums),
                       workspace};
    const bool two = in.second != nullptr;
    const Tiling tiling = tiling_for<T>(how, two);
    const int64_t units = how.planes() * tiling.count(), blocks = units > 1 ? smaller(units, max_blocks) : 1;
    launch(two ? lrelu_kernel<T, true> : lrelu_kernel<T, false>, blocks, block_size, stream, how, tiling, pass,
           sums && blocks > 1 ? draw_ticket(stream, workspace) : Ticket());
  });
}

}  // namespace

extern const FilteredLreluKernels filtered_lrelu{workspace, apply};

}  // namespace ganops::cuda
