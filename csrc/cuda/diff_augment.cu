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

#include "../kernels/diff_augment.h"
#include "samples.cuh"

namespace ganops::cuda {
namespace {

// What the kernels know of the images and the augmentation. Places are pixels where channels mix, else elements of the
// rows of memory.
struct Setting {
  int64_t channels, height, width, rows, row, step, sums;
  bool colour, translation, cutout, value, adjoint, channels_last;

  Setting(const Images& images, Augmentation how, bool mixes, int64_t sums)
      : channels(images.channels),
        height(images.height),
        width(images.width),
        rows(mixes ? images.height : images.rows()),
        row(mixes ? images.width : images.row()),
        step(mixes ? 1 : images.step()),
        sums(sums),
        colour(how.colour),
        translation(how.translation),
        cutout(how.cutout),
        value(how.form == Form::value),
        adjoint(how.form == Form::adjoint),
        channels_last(images.channels_last) {}

  int64_t places() const { return rows * row; }

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
struct Place {
  int64_t i, j;

  __device__ __forceinline__ Place(const Setting& setting, int64_t place) {
    const int64_t row = place <= 0xffffffff && setting.row <= 0xffffffff
                            ? static_cast<uint32_t>(place) / static_cast<uint32_t>(setting.row)
                            : place / setting.row;
    j = place - row * setting.row;
    i = row < setting.height ? row : row % setting.height;
  }
};

// Partial sums of the images, of the adjoint's of those elements that were selected.
template <class T>
__global__ void GANOPS_BOUNDS sum_kernel(const Pieces pieces, const Setting setting, const T* in,
                                         const Accumulate<T>* parameters, double* partial, const bool vectors) {
  using A = Accumulate<T>;
  for_units(pieces, [&](int64_t sample, int64_t begin, int64_t end, int64_t unit) {
    const A* u = parameters + sample * draws;
    const Selection rows = setting.vertical(u, false), columns = setting.horizontal(u, false);
    const int64_t first = sample * pieces.size;
    const auto whole_row = [&](int64_t i) { return !setting.adjoint || rows.inside.holds(i); };
    const auto selected = [&](const Place& at, int64_t j) {
      return !setting.adjoint || (columns.inside.holds(j) && !(rows.hole.holds(at.i) && columns.hole.holds(j)));
    };
    A sum = 0;
    visit_piece<T>(
        begin, end, vectors,
        [&](int64_t e) {
          const Place at(setting, e - first);
          bool any = false;
          if (whole_row(at.i)) {
#pragma unroll
            for (int q = 0; q < Vector<T>::width; ++q) any |= selected(at, at.j + q);
          }
          if (!any) return;
          const Vector<T> x = load(in + e);
#pragma unroll
          for (int q = 0; q < x.width; ++q) sum += selected(at, at.j + q) ? A(widen(x.at[q])) : A(0);
        },
        [&](int64_t e) {
          const Place at(setting, e - first);
          if (whole_row(at.i) && selected(at, at.j)) sum += A(widen(in[e]));
        });
    sum = warp_sum(sum);
    if (threadIdx.x % warp_size == 0) partial[unit] = sum;
  });
}

// Where element c of the q-th pixel of a group lies among the group's vectors.
template <int channels, bool channels_last, int width>
struct Group {
  static GANOPS_INLINE int vector(int q, int c) { return channels_last ? (q * channels + c) / width : c; }
  static GANOPS_INLINE int slot(int q, int c) { return channels_last ? (q * channels + c) % width : q; }
};

// `known` channels that mix, or one; 0: any number that mix, each element read twice.
template <class T, int known, bool channels_last>
__global__ void GANOPS_BOUNDS write_kernel(const Pieces pieces, const Setting setting, const T* in,
                                           const Accumulate<T>* parameters, const double* partial, T* out,
                                           const bool vectors) {
  using A = Accumulate<T>;
  constexpr int width = Vector<T>::width;
  for_units(pieces, [&](int64_t sample, int64_t begin, int64_t end, int64_t) {
    const int lane = threadIdx.x % warp_size;
    const A* u = parameters + sample * draws;
    const Selection rows = setting.vertical(u, setting.adjoint), columns = setting.horizontal(u, setting.adjoint);
    const int64_t channels = known ? known : setting.channels, places = pieces.size;
    const int64_t first = sample * places, shift = rows.shift * setting.row + columns.shift;
    Colour<A> colour;
    if (setting.colour) {
      LongSum share;
      for (int64_t i = lane; i < setting.sums; i += warp_size) share.add(partial[sample * setting.sums + i]);
      const double sum = __shfl_sync(0xffffffffu, warp_sum(share.value()), 0);
      colour = Colour<A>(u, sum, setting.channels, setting.height * setting.width, setting.value, setting.adjoint);
    }
    const T outside = narrow<T>(colour.outside);
    const auto coloured = [&](T x, A rest) { return setting.colour ? narrow<T>(colour.own * A(widen(x)) + rest) : x; };
    // Element c of place p.
    const bool last = known ? channels_last : setting.channels_last;
    const auto index = [&](int64_t p, int64_t c) {
      return first * channels + (last ? p * channels + c : c * places + p);
    };

    if constexpr (known != 0) {
      if (vectors && columns.shift % width == 0) {
        using In = Group<known, channels_last, width>;
        // The v-th vector of the group at p.
        const auto start = [&](int64_t p, int v) {
          return first * known + (channels_last ? p * known + v * width : v * places + p);
        };
#pragma unroll 1
        for (int64_t p = begin - first + lane * width; p < end - first; p += warp_size * width) {
          const Place at(setting, p);
          const bool cut = rows.hole.holds(at.i);
          // The edges of what came from outside lie on the grid too; those of the hole need not.
          const bool none = !rows.inside.holds(at.i) || !columns.inside.holds(at.j) ||
                            (cut && columns.hole.holds(at.j) && columns.hole.holds(at.j + width - 1));
          Vector<T> x[known];
#pragma unroll
          for (int v = 0; v < known; ++v) {
            if (none) {
#pragma unroll
              for (int q = 0; q < width; ++q) x[v].at[q] = outside;
            } else {
              x[v] = load(in + start(p + shift, v));
            }
          }
          if (!none) {
#pragma unroll
            for (int q = 0; q < width; ++q) {
              A sum = 0;
#pragma unroll
              for (int c = 0; c < known; ++c) sum += A(widen(x[In::vector(q, c)].at[In::slot(q, c)]));
              const A rest = colour.grey * sum + colour.inside;
              const bool hole = cut && columns.hole.holds(at.j + q);
#pragma unroll
              for (int c = 0; c < known; ++c) {
                T& y = x[In::vector(q, c)].at[In::slot(q, c)];
                y = hole ? outside : coloured(y, rest);
              }
            }
          }
#pragma unroll
          for (int v = 0; v < known; ++v) store(out + start(p, v), x[v]);
        }
        return;
      }
    }
#pragma unroll 1
    for (int64_t p = begin - first + lane; p < end - first; p += warp_size) {
      const Place at(setting, p);
      const bool taken =
          rows.inside.holds(at.i) && columns.inside.holds(at.j) && !(rows.hole.holds(at.i) && columns.hole.holds(at.j));
      if (!taken) {
#pragma unroll
        for (int64_t c = 0; c < channels; ++c) out[index(p, c)] = outside;
      } else if constexpr (known != 0) {
        T x[known];
        A sum = 0;
#pragma unroll
        for (int c = 0; c < known; ++c) {
          x[c] = in[index(p + shift, c)];
          sum += A(widen(x[c]));
        }
        const A rest = colour.grey * sum + colour.inside;
#pragma unroll
        for (int c = 0; c < known; ++c) out[index(p, c)] = coloured(x[c], rest);
      } else {
        A sum = 0;
        for (int64_t c = 0; c < channels; ++c) sum += A(widen(in[index(p + shift, c)]));
        const A rest = colour.grey * sum + colour.inside;
        for (int64_t c = 0; c < channels; ++c) out[index(p, c)] = coloured(in[index(p + shift, c)], rest);
      }
    }
  });
}

int64_t workspace(const Images& images, Augmentation how) {
  return how.colour ? Pieces(images.samples, images.size()).workspace() : 0;
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
    const Pieces sums(images.samples, images.size());
    if (how.colour) {
      const Setting setting(images, how, false, sums.count);
      launch(sum_kernel<T>, sums.blocks(), block_size, stream, sums, setting, x, u, partial,
             setting.row % Vector<T>::width == 0 && aligned(x));
    }
    const Setting setting(images, how, mixes, sums.count);
    Pieces pieces(images.samples, setting.places());
    if (mixes) {  // a place is then several elements
      pieces.length /= 4;
      pieces.count = divide_up(pieces.size, pieces.length);
    }
    const bool vectors = setting.row % Vector<T>::width == 0 && aligned(x, y);
    const auto write = [&](auto* kernel) {
      launch(kernel, pieces.blocks(), block_size, stream, pieces, setting, x, u, partial, y, vectors);
    };
    if (!mixes) {
      write(write_kernel<T, 1, false>);
    } else if (images.channels != 3) {
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
