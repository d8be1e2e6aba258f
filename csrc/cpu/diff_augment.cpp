// Differentiable augmentation on the CPU. Row by row: what a row takes from its source is at most two stretches, left
// and right of the hole, and the rest is one number. Contrast needs the image's mean first: an image that stays in the
// second-level cache is summed and written by one thread, larger ones in two rounds over all pieces.
#include "../math/diff_augment.h"

#include <algorithm>

#include "../kernels/diff_augment.h"
#include "loops.h"

namespace ganops::cpu::GANOPS_ISA {
namespace {

// Elements of an image that is summed and written in one go.
constexpr int64_t together = 16 * chunk;

// An image's rows are dealt out in pieces of about a chunk.
struct Pieces {
  int64_t rows, step, count;

  Pieces(int64_t rows, int64_t elements) : rows(rows), step(std::max<int64_t>(1, chunk / elements)) {
    count = (rows + step - 1) / step;
  }

  Span piece(int64_t index) const { return {index * step, smaller(rows, (index + 1) * step)}; }
};

Pieces sum_pieces(const Images& images) { return {images.rows(), images.row()}; }

struct Plan {
  Selection rows, columns;

  template <class A>
  Plan(const Images& images, Augmentation how, const A* u)
      : rows(images.height, how.translation, u[shift_y], how.cutout, u[hole_y], how.form == Form::adjoint),
        columns(images.width, how.translation, u[shift_x], how.cutout, u[hole_x], how.form == Form::adjoint) {}

  // selected(begin, end) for each stretch of row i that has a source, rest(begin, end) for each that has none;
  // `columns` may count elements instead of pixels.
  template <class Selected, class Rest>
  static GANOPS_INLINE void row(const Selection& rows, const Selection& columns, int64_t i, int64_t width,
                                const Selected& selected, const Rest& rest) {
    if (!rows.inside.holds(i)) return rest(0, width);
    const Span inside = columns.inside;
    rest(0, inside.begin);
    if (rows.hole.holds(i)) {
      const int64_t begin = std::clamp(columns.hole.begin, inside.begin, inside.end);
      const int64_t end = std::clamp(columns.hole.end, begin, inside.end);
      selected(inside.begin, begin);
      rest(begin, end);
      selected(end, inside.end);
    } else {
      selected(inside.begin, inside.end);
    }
    rest(inside.end, width);
  }
};

template <class T>
double sum_all(const T* x, int64_t count) {
  using A = Accumulate<T>;
  double sum = 0;
  for (int64_t begin = 0; begin < count; begin += chunk) {
    const T* from = x + begin;
    sum += accumulate<A>(smaller(chunk, count - begin), [=](int64_t i) { return A(widen(from[i])); });
  }
  return sum;
}

// Sum of what the adjoint selects for rows `piece`, column by column, for rows are often shorter than a vector is good
// at; a column's sum has at most `deep` terms.
template <class T>
double sum_selected(const Images& images, const Plan& plan, const T* in, Span piece) {
  using A = Accumulate<T>;
  constexpr int64_t deep = 64, wide = 1024;
  const int64_t width = images.row();
  const Selection columns = plan.columns.finer(images.step());
  double sum = 0;
  for (int64_t left = 0; left < width; left += wide) {
    const int64_t right = smaller(width, left + wide);
    for (int64_t top = piece.begin; top < piece.end; top += deep) {
      A column[wide] = {};
      for (int64_t r = top; r < smaller(piece.end, top + deep); ++r) {
        const T* x = in + (r + plan.rows.shift) * width + columns.shift;
        const auto add = [&](int64_t begin, int64_t end) {
          begin = std::max(begin, left), end = smaller(end, right);
          GANOPS_SIMD
          for (int64_t j = begin; j < end; ++j) column[j - left] += A(widen(x[j]));
        };
        Plan::row(plan.rows, columns, r % images.height, width, add, [](int64_t, int64_t) {});
      }
      sum += accumulate<A>(right - left, [&](int64_t j) { return column[j]; });
    }
  }
  return sum;
}

// Where a piece of an image is written: its first element, and from there to that of the next plane.
template <class T>
struct Destination {
  T* data;
  int64_t plane;
};

// Rows of memory whose elements do not mix: without colours, or of one channel.
template <class T>
void write_rows(const Images& images, const Plan& plan, bool copies, Colour<Accumulate<T>> colour, const T* in,
                Destination<T> out, Span piece) {
  using A = Accumulate<T>;
  const int64_t width = images.row();
  const Selection columns = plan.columns.finer(images.step());
  const T outside = narrow<T>(colour.outside);
  for (int64_t r = piece.begin; r < piece.end; ++r) {
    const T* x = in + (r + plan.rows.shift) * width + columns.shift;
    T* y = out.data + (r - piece.begin) * width;
    const auto selected = [&](int64_t begin, int64_t end) {
      if (copies) {
        memcpy(y + begin, x + begin, (end - begin) * sizeof(T));
      } else {
        const A own = colour.own, inside = colour.inside;
        GANOPS_SIMD
        for (int64_t j = begin; j < end; ++j) y[j] = narrow<T>(own * A(widen(x[j])) + inside);
      }
    };
    Plan::row(plan.rows, columns, r % images.height, width, selected,
              [&](int64_t begin, int64_t end) { std::fill(y + begin, y + end, outside); });
  }
}

// Pixels [begin, end) of a row: x and y are their first channel's row, or their first pixel, and `plane` is y's. With
// `known` channels at compile time each element is read once.
template <int known, bool channels_last, class T>
GANOPS_INLINE void write_pixels(const Images& images, Colour<Accumulate<T>> colour, const T* x, T* y, int64_t plane,
                                int64_t begin, int64_t end) {
  using A = Accumulate<T>;
  const int64_t channels = known ? known : images.channels;
  const int64_t across = channels_last ? 1 : images.pixels(), along = channels_last ? channels : 1;
  const int64_t over = channels_last ? 1 : plane;
  const A own = colour.own, grey = colour.grey, inside = colour.inside;
  if constexpr (known != 0) {
    GANOPS_SIMD
    for (int64_t j = begin; j < end; ++j) {
      A sum = 0;
      for (int c = 0; c < known; ++c) sum += A(widen(x[c * across + j * along]));
      const A rest = grey * sum + inside;
      for (int c = 0; c < known; ++c)
        y[c * over + j * along] = narrow<T>(own * A(widen(x[c * across + j * along])) + rest);
    }
  } else if constexpr (channels_last) {
    for (int64_t j = begin; j < end; ++j) {
      const T* p = x + j * channels;
      T* q = y + j * channels;
      const A rest = grey * accumulate<A>(channels, [=](int64_t c) { return A(widen(p[c])); }) + inside;
      GANOPS_SIMD
      for (int64_t c = 0; c < channels; ++c) q[c] = narrow<T>(own * A(widen(p[c])) + rest);
    }
  } else {
    constexpr int64_t block = 512;
    for (int64_t left = begin; left < end; left += block) {
      const int64_t count = smaller(block, end - left);
      A rest[block] = {};
      for (int64_t c = 0; c < channels; ++c) {
        const T* p = x + c * across + left;
        GANOPS_SIMD
        for (int64_t j = 0; j < count; ++j) rest[j] += A(widen(p[j]));
      }
      for (int64_t c = 0; c < channels; ++c) {
        const T* p = x + c * across + left;
        T* q = y + c * over + left;
        GANOPS_SIMD
        for (int64_t j = 0; j < count; ++j) q[j] = narrow<T>(own * A(widen(p[j])) + (grey * rest[j] + inside));
      }
    }
  }
}

// Rows of pixels whose channels mix.
template <int known, bool channels_last, class T>
void write_colour(const Images& images, const Plan& plan, Colour<Accumulate<T>> colour, const T* in, Destination<T> out,
                  Span piece) {
  const int64_t width = images.width, step = images.step();
  const int64_t planes = channels_last ? 1 : images.channels;
  const T outside = narrow<T>(colour.outside);
  for (int64_t i = piece.begin; i < piece.end; ++i) {
    const T* x = in + ((i + plan.rows.shift) * width + plan.columns.shift) * step;
    T* y = out.data + (i - piece.begin) * width * step;
    const auto selected = [&](int64_t begin, int64_t end) {
      write_pixels<known, channels_last>(images, colour, x, y, out.plane, begin, end);
    };
    const auto rest = [&](int64_t begin, int64_t end) {
      for (int64_t plane = 0; plane < planes; ++plane) {
        T* row = y + plane * out.plane;
        std::fill(row + begin * step, row + end * step, outside);
      }
    };
    Plan::row(plan.rows, plan.columns, i, width, selected, rest);
  }
}

int64_t workspace(const Images& images, Augmentation how) {
  return how.colour ? images.samples * sum_pieces(images).count * sizeof(double) : 0;
}

void apply(Stream, DType dtype, Augmentation how, const Images& images, const void* in, const void* parameters,
           void* out, void* workspace) {
  const bool adjoint = how.form == Form::adjoint, mixes = how.colour && images.channels > 1;
  const int64_t size = images.size();
  const Pieces sums = sum_pieces(images);
  const Pieces writes = mixes ? Pieces(images.height, size / images.height) : sums;
  double* partial = static_cast<double*>(workspace);
  with_type(dtype, [&](auto type) {
    using T = decltype(type);
    using A = Accumulate<T>;
    const auto row = [&](int64_t sample) { return static_cast<const A*>(parameters) + sample * draws; };
    const auto add = [&](int64_t sample, int64_t index) {
      const T* x = static_cast<const T*>(in) + sample * size;
      const Span piece = sums.piece(index);
      partial[sample * sums.count + index] =
          adjoint ? sum_selected(images, Plan(images, how, row(sample)), x, piece)
                  : sum_all(x + piece.begin * images.row(), (piece.end - piece.begin) * images.row());
    };
    const auto write_to = [&](int64_t sample, Span piece, Destination<T> y) {
      const T* x = static_cast<const T*>(in) + sample * size;
      const Plan plan(images, how, row(sample));
      if (!how.colour) return write_rows(images, plan, true, {}, x, y, piece);
      LongSum sum;
      for (int64_t i = 0; i < sums.count; ++i) sum.add(partial[sample * sums.count + i]);
      const Colour<A> colour(row(sample), sum.value(), images.channels, images.pixels(), how.form == Form::value,
                             adjoint);
      if (!mixes) return write_rows(images, plan, false, colour, x, y, piece);
      const auto with = [&](auto known) {
        if (images.channels_last) {
          write_colour<known(), true>(images, plan, colour, x, y, piece);
        } else {
          write_colour<known(), false>(images, plan, colour, x, y, piece);
        }
      };
      images.channels == 3 ? with(std::integral_constant<int, 3>()) : with(std::integral_constant<int, 0>());
    };
    // Past the caches, where there is much to write, by way of a buffer: a piece is rows of one plane or of each.
    const int64_t planes = mixes && !images.channels_last ? images.channels : 1;
    const int64_t width = mixes ? size / images.height / planes : images.row();
    const bool past = images.samples * size * static_cast<int64_t>(sizeof(T)) >= past_cache;
    const auto write = [&](int64_t sample, int64_t index) {
      const Span piece = writes.piece(index);
      T* y = static_cast<T*>(out) + sample * size + piece.begin * width;
      const int64_t length = (piece.end - piece.begin) * width;
      if (!past || planes * length > chunk) return write_to(sample, piece, {y, images.pixels()});
      alignas(64) T buffer[chunk];
      write_to(sample, piece, {buffer, length});
      for (int64_t plane = 0; plane < planes; ++plane) {
        stream(y + plane * images.pixels(), buffer + plane * length, length * sizeof(T));
      }
    };
    if (how.colour && size <= together) {
      parallel(images.samples, 2 * size, [&](int64_t sample) {
        for (int64_t index = 0; index < sums.count; ++index) add(sample, index);
        for (int64_t index = 0; index < writes.count; ++index) write(sample, index);
      });
      return;
    }
    if (how.colour) {
      parallel(images.samples * sums.count, size / sums.count,
               [&](int64_t index) { add(index / sums.count, index % sums.count); });
    }
    parallel(images.samples * writes.count, size / writes.count,
             [&](int64_t index) { write(index / writes.count, index % writes.count); });
  });
}

}  // namespace

extern const DiffAugmentKernels diff_augment{workspace, apply};

}  // namespace ganops::cpu::GANOPS_ISA
