// Differentiable augmentation on the GPU.
//
// One launch reads the source of each place and writes the place, a warp per piece of an image. With colours a launch
// before it leaves the partial sums of each image (samples.cuh), and every warp of the second adds those of its own: no
// more than a few hundred numbers, and a launch less than finishing them first.
//
// A lane takes as many pixels as a vector has places, with all their channels: for three channels as many vectors,
// plane by plane or pixel by pixel, and each element is read once. An image that was moved by what is no multiple of a
// vector has its source off the 16-byte grid: its lanes take neighbouring pixels, one each. So does any other number of
// channels where channels mix; where they do not, rows are copied whatever they hold.
#include "../math/diff_augment.h"

#include <type_traits>

#include "../kernels/diff_augment.h"
#include "samples.cuh"

namespace ganops::cuda {
namespace {

// Division by a number that the launch knows, as a product (Granlund & Montgomery 1994). Exact below 2³¹.
struct Divisor {
  uint32_t factor, shift;

  explicit Divisor(int64_t divisor) : factor(0), shift(0) {
    if (divisor > largest) return;
    while (int64_t(1) << shift < divisor) ++shift;
    factor = static_cast<uint32_t>(((uint64_t(1) << 32) * ((uint64_t(1) << shift) - divisor)) / divisor + 1);
  }
  __device__ __forceinline__ int divide(int x) const {
    return static_cast<int>((__umulhi(static_cast<unsigned>(x), factor) + static_cast<unsigned>(x)) >> shift);
  }
  static constexpr int64_t largest = int64_t(1) << 30;
};

// What the kernels know of the images and the augmentation. Places are pixels where channels mix, else elements of the
// rows of memory.
struct Setting {
  int64_t channels, height, width, rows, row, step, sums;
  Divisor by_row, by_height;
  bool colour, translation, cutout, value, adjoint, channels_last;

  Setting(const Images& images, Augmentation how, bool mixes, int64_t sums)
      : channels(images.channels),
        height(images.height),
        width(images.width),
        rows(mixes ? images.height : images.rows()),
        row(mixes ? images.width : images.row()),
        step(mixes ? 1 : images.step()),
        sums(sums),
        by_row(row),
        by_height(height),
        colour(how.colour),
        translation(how.translation),
        cutout(how.cutout),
        value(how.form == Form::value),
        adjoint(how.form == Form::adjoint),
        channels_last(images.channels_last) {}

  int64_t places() const { return rows * row; }
  // Vectors count within an image in 32 bits.
  template <class T>
  bool vectors() const {
    return row % Vector<T>::width == 0 && height * width * channels <= Divisor::largest;
  }

  template <class A>
  __device__ __forceinline__ Selection vertical(const A* u, bool backwards) const {
    return Selection(height, translation, u[shift_y], cutout, u[hole_y], backwards);
  }
  template <class A>
  __device__ __forceinline__ Selection horizontal(const A* u, bool backwards) const {
    return Selection(width, translation, u[shift_x], cutout, u[hole_x], backwards).finer(step);
  }
};

// Row and column of a place of an image; the row as one of the image's.
template <class Index>
struct Place {
  Index i, j;

  __device__ __forceinline__ Place(const Setting& setting, Index place) {
    if constexpr (sizeof(Index) == 4) {
      const int row = setting.by_row.divide(place);
      j = place - row * static_cast<int>(setting.row);
      i = row - setting.by_height.divide(row) * static_cast<int>(setting.height);
    } else {
      const int64_t row = place <= 0xffffffff && setting.row <= 0xffffffff
                              ? static_cast<uint32_t>(place) / static_cast<uint32_t>(setting.row)
                              : place / setting.row;
      j = place - row * setting.row;
      i = row < setting.height ? row : row % setting.height;
    }
  }
};

// Which places are selected, in both axes. No question branches, so that loads are not parted by them.
template <class Index>
struct Window {
  struct Range {
    Index begin, length;
    __device__ __forceinline__ explicit Range(const Span& span)
        : begin(static_cast<Index>(span.begin)), length(static_cast<Index>(span.end - span.begin)) {}
    __device__ __forceinline__ bool holds(Index place) const {
      using Unsigned = std::make_unsigned_t<Index>;
      return static_cast<Unsigned>(place - begin) < static_cast<Unsigned>(length > 0 ? length : 0);
    }
  };
  Range rows, columns, hole_rows, hole_columns;

  __device__ __forceinline__ Window(const Selection& vertical, const Selection& horizontal)
      : rows(vertical.inside), columns(horizontal.inside), hole_rows(vertical.hole), hole_columns(horizontal.hole) {}

  // Of row i, column j.
  __device__ __forceinline__ bool holds(Index i, Index j) const {
    return rows.holds(i) & columns.holds(j) & !(hole_rows.holds(i) & hole_columns.holds(j));
  }
};

constexpr int together = 4;  // vectors that a lane loads at once where it sums or copies

// The same number, but the compiler cannot tell: what the loads computed from it is computed anew at the use, rather
// than kept in registers for so many vectors.
__device__ __forceinline__ int afresh(int x) {
#ifdef __CUDA_ARCH__
  asm volatile("" : "+r"(x));
#endif
  return x;
}

// Partial sums of the images, of the adjoint's of those elements that were selected.
template <class T, bool adjoint>
__global__ void GANOPS_BOUNDS(4) sum_kernel(const Pieces pieces, const Setting setting, const T* in,
                                            const Accumulate<T>* parameters, double* partial, const bool vectors) {
  using A = Accumulate<T>;
  constexpr int width = Vector<T>::width;
  for_units(pieces, [&](int64_t sample, int64_t begin, int64_t end, int64_t unit) {
    const A* u = parameters + sample * draws;
    const Selection rows = setting.vertical(u, false), columns = setting.horizontal(u, false);
    const int lane = threadIdx.x % warp_size;
    const T* image = in + sample * pieces.size;
    begin -= sample * pieces.size, end -= sample * pieces.size;
    A sum = 0;
    if (vectors) {
      const Window<int> window(rows, columns);
      constexpr int step = warp_size * width;
      const int last = static_cast<int>(end);
#pragma unroll 1
      for (int e = static_cast<int>(begin) + lane * width; e < last; e += together * step) {
        in_two_phases<together>(
            e, step, last,
            [&](int e, bool inside) {
              if constexpr (adjoint) {
                // A vector of which the window holds nothing is not read.
                const Place<int> at(setting, e);
                bool any = false;
#pragma unroll
                for (int q = 0; q < width; ++q) any |= window.holds(at.i, at.j + q);
                inside = inside & any;
              }
              return load_input(image + e, inside);
            },
            [&](int e, const Vector<T>& x) {
              if constexpr (adjoint) {
                const Place<int> at(setting, afresh(e));
                if (!window.rows.holds(at.i)) return;
#pragma unroll
                for (int q = 0; q < width; ++q) sum += window.holds(at.i, at.j + q) ? A(widen(x.at[q])) : A(0);
              } else {
#pragma unroll
                for (int q = 0; q < width; ++q) sum += A(widen(x.at[q]));
              }
            });
      }
    } else {
      const Window<int64_t> window(rows, columns);
#pragma unroll 1
      for (int64_t v = begin + lane * width; v < end; v += warp_size * width) {
#pragma unroll 1
        for (int64_t e = v; e < end && e < v + width; ++e) {
          if constexpr (adjoint) {
            const Place<int64_t> at(setting, e);
            if (!window.holds(at.i, at.j)) continue;
          }
          sum += A(widen(image[e]));
        }
      }
    }
    leave_sum(pieces, unit, sum, partial);
  });
}

// Where element c of the q-th pixel of a group lies among the group's vectors.
template <int channels, bool channels_last, int width>
struct Group {
  static GANOPS_INLINE int vector(int q, int c) { return channels_last ? (q * channels + c) / width : c; }
  static GANOPS_INLINE int slot(int q, int c) { return channels_last ? (q * channels + c) % width : q; }
};

// A vector's worth of pixels, with all their channels.
template <class T, int known>
struct Pixels {
  Vector<T> at[known];
};

// Of these a lane loads at once: six vectors, or four where registers allow three blocks of them.
template <class T, int known>
constexpr int groups = known == 3       ? 2
                       : sizeof(T) == 2 ? 6
                                        : 4;

// Fewer where registers do not do for three without spills.
template <class T, int known>
constexpr int write_blocks = (known == 0 && !is_double<T>) || (known == 1 && sizeof(T) == sizeof(float)) ? 3 : 2;

// `known` channels that mix, or one; 0: any number that mix, each element read twice.
template <class T, int known, bool channels_last>
__global__ void GANOPS_BOUNDS(write_blocks<T, known>)
    write_kernel(const Pieces pieces, const Setting setting, const T* in, const Accumulate<T>* parameters,
                 const double* partial, T* out, const bool vectors) {
  using A = Accumulate<T>;
  constexpr int width = Vector<T>::width;
  for_units(pieces, [&](int64_t sample, int64_t begin, int64_t end, int64_t) {
    const int lane = threadIdx.x % warp_size;
    const A* u = parameters + sample * draws;
    const Selection rows = setting.vertical(u, setting.adjoint), columns = setting.horizontal(u, setting.adjoint);
    const int64_t channels = known ? known : setting.channels, places = pieces.size;
    const int64_t shift = rows.shift * setting.row + columns.shift;
    const T* from = in + sample * places * channels;
    T* to = out + sample * places * channels;
    begin -= sample * places, end -= sample * places;
    Colour<A> colour;
    if (setting.colour) {
      LongSum share;
      for (int64_t i = lane; i < setting.sums; i += warp_size) share.add(partial[sample * setting.sums + i]);
      const double sum = __shfl_sync(0xffffffffu, warp_sum(share.value()), 0);
      colour = Colour<A>(u, sum, setting.channels, setting.height * setting.width, setting.value, setting.adjoint);
    }
    const T outside = narrow<T>(colour.outside);
    const auto coloured = [&](T x, A rest) { return setting.colour ? narrow<T>(colour.own * A(widen(x)) + rest) : x; };

    if constexpr (known != 0) {
      if (vectors && columns.shift % width == 0) {
        using In = Group<known, channels_last, width>;
        const Window<int> window(rows, columns);
        const int offset = static_cast<int>(shift), plane = static_cast<int>(places);
        // The v-th vector of the group at p.
        const auto start = [&](int p, int v) { return channels_last ? p * known + v * width : v * plane + p; };
        // The edges of what came from outside lie on the grid of vectors; those of the hole need not.
        const auto holds_some = [&](const Place<int>& at) {
          return window.holds(at.i, at.j) | window.holds(at.i, at.j + width - 1);
        };
        constexpr int n = groups<T, known>, step = warp_size * width;
        const int last_place = static_cast<int>(end);
#pragma unroll 1
        for (int p = static_cast<int>(begin) + lane * width; p < last_place; p += n * step) {
          in_two_phases<n>(
              p, step, last_place,
              [&](int p, bool inside) {
                inside = inside & holds_some(Place<int>(setting, p));
                Pixels<T, known> x;
#pragma unroll
                for (int v = 0; v < known; ++v) x.at[v] = load_input(from + start(p + offset, v), inside);
                return x;
              },
              [&](int p, Pixels<T, known>& x) {
                const Place<int> at(setting, afresh(p));
#pragma unroll
                for (int q = 0; q < width; ++q) {
                  A sum = 0;
#pragma unroll
                  for (int c = 0; c < known; ++c) sum += A(widen(x.at[In::vector(q, c)].at[In::slot(q, c)]));
                  const A rest = colour.grey * sum + colour.inside;
                  const bool taken = window.holds(at.i, at.j + q);
#pragma unroll
                  for (int c = 0; c < known; ++c) {
                    T& y = x.at[In::vector(q, c)].at[In::slot(q, c)];
                    y = taken ? coloured(y, rest) : outside;
                  }
                }
#pragma unroll
                for (int v = 0; v < known; ++v) store(to + start(p, v), x.at[v]);
              });
        }
        return;
      }
    }
    const Window<int64_t> window(rows, columns);
    // Element c of place p.
    const bool last = known ? channels_last : setting.channels_last;
    const auto index = [&](int64_t p, int64_t c) { return last ? p * channels + c : c * places + p; };
#pragma unroll 1
    for (int64_t p = begin + lane; p < end; p += warp_size) {
      const Place<int64_t> at(setting, p);
      if (!window.holds(at.i, at.j)) {
#pragma unroll
        for (int64_t c = 0; c < channels; ++c) to[index(p, c)] = outside;
      } else if constexpr (known != 0) {
        T x[known];
        A sum = 0;
#pragma unroll
        for (int c = 0; c < known; ++c) {
          x[c] = from[index(p + shift, c)];
          sum += A(widen(x[c]));
        }
        const A rest = colour.grey * sum + colour.inside;
#pragma unroll
        for (int c = 0; c < known; ++c) to[index(p, c)] = coloured(x[c], rest);
      } else {
        A sum = 0;
        for (int64_t c = 0; c < channels; ++c) sum += A(widen(from[index(p + shift, c)]));
        const A rest = colour.grey * sum + colour.inside;
        for (int64_t c = 0; c < channels; ++c) to[index(p, c)] = coloured(from[index(p + shift, c)], rest);
      }
    }
  });
}

// Of any dtype: narrow elements are summed in fewer pieces.
int64_t workspace(const Images& images, Augmentation how) {
  return how.colour ? sum_workspace(images.samples, images.size(), together) * sizeof(double) : 0;
}

void apply(Stream stream, DType dtype, Augmentation how, const Images& images, const void* in, const void* parameters,
           void* out, void* workspace) {
  with_type(dtype, [&](auto type) {
    using T = decltype(type);
    const T* x = static_cast<const T*>(in);
    T* y = static_cast<T*>(out);
    const auto* u = static_cast<const Accumulate<T>*>(parameters);
    double* partial = static_cast<double*>(workspace);
    const bool mixes = how.colour && images.channels > 1;
    const Pieces sums(images.samples, images.size(), warp_vector<T>, together, Purpose::sum);
    if (how.colour) {
      const Setting setting(images, how, false, sums.parts());
      launch(setting.adjoint ? sum_kernel<T, true> : sum_kernel<T, false>, sums.blocks(), sums.threads(), stream, sums,
             setting, x, u, partial, setting.vectors<T>() && aligned(x));
    }
    const Setting setting(images, how, mixes, sums.parts());
    const bool three = mixes && images.channels == 3;
    const Pieces pieces(images.samples, setting.places(), warp_vector<T>, three ? groups<T, 3> : groups<T, 1>,
                        Purpose::write);
    const bool vectors = setting.vectors<T>() && aligned(x, y);
    const auto write = [&](auto* kernel) {
      launch(kernel, pieces.blocks(), pieces.threads(), stream, pieces, setting, x, u, partial, y, vectors);
    };
    if (!mixes) {
      write(write_kernel<T, 1, false>);
    } else if (!three) {
      write(write_kernel<T, 0, false>);
    } else if (images.channels_last) {
      write(write_kernel<T, 3, true>);
    } else {
      write(write_kernel<T, 3, false>);
    }
  });
}

}  // namespace

extern const DiffAugmentKernels diff_augment{workspace, apply};

}  // namespace ganops::cuda
