// Resampling by a filter on the CPU.
//
// Planes: of four output rows at a time the sums along y go straight from the input into rows in the first-level cache,
// the phases of x apart, and from there the sums along x into the output. A matrix that is the outer product of two
// rows is applied as these; any other is a sum over its rows of filters along x. Where channels lie side by side, a
// pixel's channels stand in place of an element, and each pixel is a sum of its own.
#include "../kernels/upfirdn.h"

#include <limits>

#include "polyphase.h"

namespace ganops::cpu::GANOPS_ISA {
namespace {

// Channels that are side by side and worked on together.
constexpr int64_t slab = 64;

// Pixels of a row that are at hand where channels are side by side.
constexpr int64_t pixels = 128;

// What a thread takes at a time: rows of a plane, so that few planes are still work for several threads, or some small
// planes.
struct Unit {
  int64_t rows, planes;

  Unit(int64_t planes, int64_t rows, int64_t row) {
    constexpr int64_t units = 64, fewest = 8;
    this->rows = std::min(rows, std::max(fewest, rows * planes / units));
    this->planes = this->rows < rows ? 1 : std::max<int64_t>(1, chunk / (rows * row));
  }
};

// The two rows of taps whose outer product a filter is, to the rounding of its numbers: those of y and of x, in
// correlation order, the gain in those of y.
template <class A>
struct Factors {
  A y[most_taps], x[most_taps];
  bool exist;

  Factors(const Resampling& how, const A* filter) {
    const auto at = [&](int64_t a, int64_t b) {
      const int64_t column = tap_place(b, how.x.taps, how.flip);
      return how.separable ? filter[column] : filter[tap_place(a, how.y.taps, how.flip) * how.x.taps + column];
    };
    const A gain = how.gain;
    if (how.separable) {
      exist = true;
      for (int64_t b = 0; b < how.x.taps; ++b) x[b] = at(0, b);
      for (int64_t a = 0; a < how.y.taps; ++a) y[a] = how.y.taps > 1 ? gain * at(0, a) : gain;
      return;
    }
    int64_t row = 0, column = 0;
    for (int64_t a = 0; a < how.y.taps; ++a) {
      for (int64_t b = 0; b < how.x.taps; ++b) {
        if (absolute(at(a, b)) > absolute(at(row, column))) row = a, column = b;
      }
    }
    const A largest = at(row, column);
    exist = true;
    for (int64_t b = 0; b < how.x.taps; ++b) x[b] = at(row, b);
    for (int64_t a = 0; a < how.y.taps; ++a) {
      y[a] = at(a, column) / largest;
      for (int64_t b = 0; b < how.x.taps; ++b) {
        exist = exist && absolute(at(a, b) - y[a] * x[b]) <= 2 * std::numeric_limits<A>::epsilon() * absolute(at(a, b));
      }
      y[a] *= gain;
    }
  }
};

template <class T>
struct Resampler {
  using A = Accumulate<T>;

  const Resampling& how;
  const A* filter;
  Factors<A> factors;
  bool separable;
  Taps<A> rows;
  Phases<A> phases;

  Resampler(const Resampling& how, const void* filter)
      : how(how),
        filter(static_cast<const A*>(filter)),
        factors(how, this->filter),
        separable(factors.exist),
        rows(how.y, [this](int64_t k) { return factors.y[k]; }),
        phases(how.x, [this](int64_t k) { return factors.x[k]; }) {}

  A product(int64_t a, int64_t b) const {
    const int64_t row = tap_place(a, how.y.taps, how.flip), column = tap_place(b, how.x.taps, how.flip);
    return A(how.gain) * filter[row * how.x.taps + column];
  }

  RowSum<T> sum_of(int64_t o, const T* at, int64_t pitch) const { return rows_of_output(how.y, rows, o, at, pitch); }
};

// Rows [begin, end) of some output planes.
template <class T>
void separable_planes(const Resampler<T>& job, const T* in, int64_t planes, int64_t begin, int64_t end, T* out,
                      bool past) {
  using A = Accumulate<T>;
  const Axis &x = job.how.x, &y = job.how.y;
  const Phases<A>& phases = job.phases;
  const auto sum_rows = row_combination<T>(job.rows.most, phases.split);
  const auto sum_phases = phase_combination<T>(phases.terms(), phases.merge);
  const int64_t tile = phases.tile();
  alignas(64) A memory[row_batch * row_capacity + lanes<A>];
  RowSum<T> sums[row_batch];
  int64_t start[most_terms];
  for (int64_t column = 0; column < x.out; column += tile) {
    const int64_t outputs = smaller(tile, x.out - column), stride = phases.stride(outputs);
    const int64_t row = stride * phases.split;
    const Stretch stretch(phases, x.in, column, outputs);
    A* const buffer = memory + stretch.shift(phases);
    phases.places(stride, start);
    std::fill(memory, buffer + row_batch * row, A(0));
    A* const interior = buffer + stretch.margin(phases.split);
    for (int64_t plane = 0; plane < planes; ++plane) {
      const T* const source = in + plane * y.in * x.in + stretch.begin;
      T* const target = out + plane * y.out * x.out + column;
      for (int64_t o = begin; o < end; o += row_batch) {
        const int batch = static_cast<int>(smaller(row_batch, end - o));
        prefetch(source + (o + 2 * row_batch) * y.down / y.up * x.in, row_batch * y.down * x.in / y.up);
        for (int b = 0; b < batch; ++b) sums[b] = job.sum_of(o + b, source, x.in);
        sum_rows(sums, batch, x.in, phases.split, stretch.length(), interior, row, stride);
        sum_phases(buffer, row, start, phases.coefficient, phases.begin, phases.merge, batch, outputs,
                   target + o * x.out, x.out, past);
      }
    }
  }
}

template <class T>
void matrix_plane(const Resampler<T>& job, const T* in, int64_t begin, int64_t end, T* out, bool past) {
  using A = Accumulate<T>;
  const Axis &x = job.how.x, &y = job.how.y;
  const Phases<A>& phases = job.phases;
  const auto make_row = row_combination<T>(1, phases.split);
  const auto add = phase_combination<A>(0, 1);
  const auto finish = phase_combination<T>(1, phases.merge);
  const int64_t tile = phases.tile();
  // A row of the input, its phases apart, and after it the sums, their phases apart.
  alignas(64) A buffer[row_capacity * (1 + most_factor)];
  A c[most_terms + 1] = {1};
  int64_t start[most_terms], terms[most_terms + 1];
  for (int64_t column = 0; column < x.out; column += tile) {
    const int64_t outputs = smaller(tile, x.out - column), stride = phases.stride(outputs);
    const int64_t length = (outputs + phases.merge - 1) / phases.merge, row = stride * phases.split;
    const Stretch stretch(phases, x.in, column, outputs);
    phases.places(stride, start);
    std::fill(buffer, buffer + row, A(0));
    for (int64_t o = begin; o < end; ++o) {
      std::fill(buffer + row, buffer + row + stride * phases.merge, A(0));
      auto [i, tap] = meeting(y, o);
      for (; tap < y.taps; tap += y.up, ++i) {
        if (i < 0 || i >= y.in) continue;
        const RowSum<T> single{c, in + i * x.in + stretch.begin, 1};
        make_row(&single, 1, 0, phases.split, stretch.length(), buffer + stretch.margin(phases.split), 0, stride);
        for (int64_t s = 0; s < phases.merge; ++s) {
          const int first = phases.begin[s], count = phases.begin[s + 1] - first, places[] = {0, count + 1};
          terms[0] = row + s * stride;
          for (int k = 0; k < count; ++k) {
            terms[k + 1] = start[first + k];
            c[k + 1] = job.product(tap, phases.tap[first + k]);
          }
          add(buffer, 0, terms, c, places, 1, 1, length, buffer + terms[0], 0, false);
        }
      }
      A ones[most_factor];
      int places[most_factor + 1];
      for (int s = 0; s <= phases.merge; ++s) places[s] = s;
      for (int64_t s = 0; s < phases.merge; ++s) terms[s] = row + s * stride, ones[s] = 1;
      finish(buffer, 0, terms, ones, places, phases.merge, 1, outputs, out + o * x.out + column, 0, past);
    }
  }
}

// Rows [begin, end) of an output image, of whose channels `width` are at hand, side by side.
template <class T>
void channels_last(const Resampler<T>& job, const T* in, int64_t width, int64_t begin, int64_t end, T* out) {
  using A = Accumulate<T>;
  const Resampling& how = job.how;
  const Axis &x = how.x, &y = how.y;
  const Phases<A>& phases = job.phases;
  const int64_t pitch = x.in * how.channels, tile = std::min((pixels - x.taps / x.up - 2) * x.up / x.down, pixels);
  const auto sum_rows = row_combination<T>(job.separable ? job.rows.most : 1, 1);
  const auto sum_pixels = phase_combination<T>(phases.terms(), 1);
  const auto add = phase_combination<A>(0, 1);
  const auto finish = phase_combination<T>(1, 1);
  // Input pixels, as they are or summed along y, and after them sums of output pixels.
  alignas(64) A buffer[2 * pixels * slab + lanes<A>];
  A c[most_terms + 1] = {1};
  int64_t terms[most_terms + 1];
  for (int64_t column = 0; column < x.out; column += tile) {
    const int64_t outputs = smaller(tile, x.out - column);
    const int64_t least = meeting(x, column).element;
    const int64_t most = least + outputs * x.down / x.up + x.taps / x.up + 1, sums = (most - least) * width;
    const int64_t first = std::min(std::max<int64_t>(least, 0), x.in), last = std::max(first, smaller(most, x.in));
    std::fill(buffer, buffer + sums, A(0));
    const auto make_pixels = [&](const auto& sum_at) {
      const int64_t run = width == how.channels ? last - first : 1;
      for (int64_t p = first; p < last; p += run) {
        const RowSum<T> sum = sum_at(in + p * how.channels);
        sum_rows(&sum, 1, pitch, 1, run * width, buffer + (p - least) * width, 0, 0);
      }
    };
    // The input pixels that output pixel p is a sum of; their coefficients begin at the number returned.
    const auto find_terms = [&](int64_t p, int64_t* to, int& count) {
      const int64_t i = meeting(x, p).element, s = p % phases.merge;
      count = phases.begin[s + 1] - phases.begin[s];
      for (int j = 0; j < count; ++j) to[j] = (i + j - least) * width;
      return phases.begin[s];
    };
    for (int64_t o = begin; o < end; ++o) {
      T* const row = out + (o * x.out + column) * how.channels;
      int count;
      if (job.separable) {
        make_pixels([&](const T* at) { return job.sum_of(o, at, pitch); });
        for (int64_t p = 0; p < outputs; ++p) {
          const int place = find_terms(column + p, terms, count), places[] = {0, count};
          sum_pixels(buffer, 0, terms, phases.coefficient + place, places, 1, 1, width, row + p * how.channels, 0,
                     false);
        }
        continue;
      }
      std::fill(buffer + sums, buffer + sums + outputs * width, A(0));
      auto [i, tap] = meeting(y, o);
      for (; tap < y.taps; tap += y.up, ++i) {
        if (i < 0 || i >= y.in) continue;
        make_pixels([&](const T* at) { return RowSum<T>{c, at + i * pitch, 1}; });
        for (int64_t p = 0; p < outputs; ++p) {
          const int place = find_terms(column + p, terms + 1, count), places[] = {0, count + 1};
          terms[0] = sums + p * width;
          for (int k = 0; k < count; ++k) c[k + 1] = job.product(tap, phases.tap[place + k]);
          add(buffer, 0, terms, c, places, 1, 1, width, buffer + terms[0], 0, false);
        }
      }
      const int places[] = {0, 1};
      for (int64_t p = 0; p < outputs; ++p) {
        terms[0] = sums + p * width;
        finish(buffer, 0, terms, c, places, 1, 1, width, row + p * how.channels, 0, false);
      }
    }
  }
}

void apply(Stream, DType dtype, const Resampling& how, const void* in, const void* filter, void* out) {
  with_type(dtype, [&](auto type) {
    using T = decltype(type);
    const Resampler<T> job(how, filter);
    const T* const source = static_cast<const T*>(in);
    T* const target = static_cast<T*>(out);
    const int64_t sizes_in = how.y.in * how.x.in, sizes_out = how.y.out * how.x.out;
    const bool past =
        how.planes() * sizes_out * static_cast<int64_t>(sizeof(T)) >= past_cache && aligned_rows(target, how.x.out);
    const int64_t slabs = how.channels_last ? (how.channels + slab - 1) / slab : how.channels;
    const int64_t planes = how.samples * slabs, width = how.channels_last ? slab : 1;
    const Unit unit(planes, how.y.out, how.x.out * width);
    const int64_t bands = (how.y.out + unit.rows - 1) / unit.rows, groups = (planes + unit.planes - 1) / unit.planes;
    parallel(groups * bands, unit.planes * unit.rows * how.x.out * width, [&](int64_t index) {
      const int64_t first = index / bands * unit.planes, last = smaller(first + unit.planes, planes);
      const int64_t begin = index % bands * unit.rows, end = smaller(begin + unit.rows, how.y.out);
      if (!how.channels_last && job.separable) {
        return separable_planes(job, source + first * sizes_in, last - first, begin, end, target + first * sizes_out,
                                past);
      }
      for (int64_t plane = first; plane < last; ++plane) {
        if (how.channels_last) {
          const int64_t sample = plane / slabs, channel = plane % slabs * slab;
          channels_last(job, source + sample * how.channels * sizes_in + channel, smaller(slab, how.channels - channel),
                        begin, end, target + sample * how.channels * sizes_out + channel);
        } else {
          matrix_plane(job, source + plane * sizes_in, begin, end, target + plane * sizes_out, past);
        }
      }
    });
  });
}

}  // namespace

extern const UpfirdnKernels upfirdn{apply};

}  // namespace ganops::cpu::GANOPS_ISA
