// The leaky ReLU on a finer grid, on the CPU.
//
// A thread takes a band of a plane's output rows, and of wide planes a tile of their columns. Rows of the fine grid are
// made four at a time, by sums along y and then along x, and kept as long as outputs need them; from there the sums
// along y and along x lead to the output. All of it stays in the caches.
#include "../kernels/filtered_lrelu.h"

#include "../math/filtered_lrelu.h"

#include "polyphase.h"

namespace ganops::cpu::GANOPS_ISA {
namespace {

// Columns of the fine grid at a time; numbers of it that are kept, rows of `fine_width` for the most taps and factors
// at the least; output rows of a band.
constexpr int64_t fine_width = 1024, kept = 10240, band = 128;
constexpr int64_t fine_capacity = (most_lrelu_taps + row_batch * most_lrelu_factor + row_batch) * (fine_width + 64);

// One of the three resamplings.
template <class A>
struct Part {
  Axis x, y;
  Taps<A> rows;
  Phases<A> phases;

  Part(const Resampling& how, const void* filter)
      : x(how.x),
        y(how.y),
        rows(how.y, [&](int64_t k) { return A(how.gain) * tap(how, filter, k); }),
        phases(how.x, [&](int64_t k) { return tap(how, filter, k); }) {}

 private:
  static A tap(const Resampling& how, const void* filter, int64_t k) {
    return static_cast<const A*>(filter)[tap_place(k, how.x.taps, how.flip)];
  }
};

template <class T>
struct Job {
  using A = Accumulate<T>;

  const FilteredLrelu& how;
  const LreluInputs& in;
  Part<A> up, second, down;
  Leaky<A> leaky;
  int64_t tile, tiles, bands;

  Job(const FilteredLrelu& how, const LreluInputs& in)
      : how(how),
        in(in),
        up(how.up, in.up_filter),
        second(in.second ? how.second : how.up, in.second ? in.second_filter : in.up_filter),
        down(how.down, in.down_filter),
        leaky{A(how.gain), A(how.gain * how.slope), A(how.clamp), how.clamp >= 0} {
    tile = columns_of(how);
    tiles = (down.x.out + tile - 1) / tile, bands = (down.y.out + band - 1) / band;
  }
  static int64_t columns_of(const FilteredLrelu& how) {
    return (fine_width - most_lrelu_taps - most_lrelu_factor) / how.down.x.down;
  }
};

// Rows of the fine grid from a signal: columns [column, column + width), the first of which begins a period.
template <class T>
class Rising {
  using A = Accumulate<T>;

 public:
  Rising(const Part<A>& part, int64_t column, int64_t width)
      : part_(part),
        width_(width),
        stretch_(part.phases, part.x.in, column, width),
        stride_(part.phases.stride(width)),
        buffer_(memory_ + stretch_.shift(part.phases)),
        sum_rows_(row_combination<T>(part.rows.most, 1)),
        sum_phases_(phase_combination<A>(part.phases.terms(), part.phases.merge)) {
    part.phases.places(stride_, start_);
    std::fill(memory_, buffer_ + row_batch * stride_, A(0));
  }

  // Rows [row, row + count) of the grid above plane + bias.
  void make(const T* plane, A bias, int64_t row, int count, A* to, int64_t pitch) {
    RowSum<T> sums[row_batch];
    const int64_t length = stretch_.length();
    A* const interior = buffer_ + stretch_.margin(1);
    for (int b = 0; b < count; ++b) {
      sums[b] = rows_of_output(part_.y, part_.rows, row + b, plane + stretch_.begin, part_.x.in);
    }
    sum_rows_(sums, count, part_.x.in, 1, length, interior, stride_, stride_);
    for (int b = 0; b < count && bias != 0; ++b) {
      A total = 0;
      for (int j = 0; j < sums[b].terms; ++j) total += sums[b].c[j];
      total *= bias;
      GANOPS_SIMD
      for (int64_t i = 0; i < length; ++i) interior[b * stride_ + i] += total;
    }
    sum_phases_(buffer_, stride_, start_, part_.phases.coefficient, part_.phases.begin, part_.phases.merge, count,
                width_, to, pitch, false);
  }

 private:
  const Part<A>& part_;
  int64_t width_;
  Stretch stretch_;
  int64_t stride_, start_[most_terms];
  alignas(64) A memory_[row_batch * row_capacity + lanes<A>];
  A* buffer_;
  CombineRows<T> sum_rows_;
  CombinePhases<A> sum_phases_;
};

// fine = φ(fine), or with a second signal φ'(fine)·second.
template <class A>
GANOPS_INLINE void activate(const Leaky<A>& leaky, int64_t width, const A* second, A* fine) {
  constexpr int L = lanes<A>;
  if (second) {
    for (int64_t i = 0; i < width; i += L) store(fine + i, leaky.slope(load(fine + i)) * load(second + i));
  } else {
    for (int64_t i = 0; i < width; i += L) store(fine + i, leaky.value(load(fine + i)));
  }
}

// A band's outputs in columns [column, column + outputs); returns their sum if it is asked for.
template <class T>
double tile_of_band(const Job<T>& job, int64_t plane, int64_t begin, int64_t column, T* out, bool sums, bool past) {
  using A = Accumulate<T>;
  constexpr int L = lanes<A>;
  const Axis &x = job.down.x, &y = job.down.y;
  const Phases<A>& phases = job.down.phases;
  const int64_t outputs = smaller(job.tile, x.out - column), end = smaller(begin + band, y.out);
  const Stretch stretch(phases, x.in, column, outputs);
  // Whole periods of both signals' phases.
  const int64_t period = std::lcm(job.up.phases.merge, job.second.phases.merge);
  const int64_t first = stretch.begin / period * period, width = stretch.end - first;
  const int64_t pitch = (width + L - 1) / L * L;
  const int64_t channel = plane % job.how.up.channels;
  const auto plane_of = [&](const Part<A>& part, const void* of) {
    return static_cast<const T*>(of) + plane * part.x.in * part.y.in;
  };
  const auto number_of = [&](const void* of) { return of ? static_cast<const A*>(of)[channel] : A(0); };
  const T *const source = plane_of(job.up, job.in.x), *const other = plane_of(job.second, job.in.second);
  const A bias = number_of(job.in.bias), other_bias = number_of(job.in.second_bias);
  const bool two = job.in.second != nullptr;

  Rising<T> rising(job.up, first, width), second(job.second, first, width);
  alignas(64) A fine[fine_capacity], beside[row_batch * (fine_width + 64)];
  alignas(64) A memory[row_batch * row_capacity + L], results[row_batch * (fine_width + 64)];
  const int64_t stride = phases.stride(outputs), row = stride * phases.split;
  A* const buffer = memory + stretch.shift(phases);
  std::fill(memory, buffer + row_batch * row, A(0));
  int64_t start[most_terms];
  phases.places(stride, start);
  const auto sum_rows = row_combination<A>(job.down.rows.most, phases.split);
  const auto sum_phases = phase_combination<T>(phases.terms(), phases.merge);
  const auto sum_results = phase_combination<A>(phases.terms(), phases.merge);
  const int64_t room = std::max(kept / std::max<int64_t>(pitch, 1), y.taps + row_batch * y.down + row_batch);
  const auto bounded = [&](int64_t i) { return std::min(std::max<int64_t>(i, 0), y.in); };
  const auto first_of = [&](int64_t o) { return bounded(meeting(y, o).element); };
  const auto end_of = [&](int64_t o) { return bounded(o * y.down - y.padding + y.taps); };

  double total = 0;
  int64_t base = first_of(begin), made = base;  // rows of the fine grid that are kept: [base, made)
  for (int64_t o = begin; o < end; o += row_batch) {
    const int batch = static_cast<int>(smaller(row_batch, end - o));
    const int64_t needed = end_of(o + batch - 1);
    while (made < needed) {
      if (made - base + row_batch > room) {
        const int64_t from = std::max(base, smaller(first_of(o), made));
        std::copy(fine + (from - base) * pitch, fine + (made - base) * pitch, fine);
        base = from;
      }
      const int count = static_cast<int>(smaller(row_batch, y.in - made));
      A* const to = fine + (made - base) * pitch;
      rising.make(source, bias, made, count, to, pitch);
      if (two) second.make(other, other_bias, made, count, beside, pitch);
      for (int b = 0; b < count; ++b) activate(job.leaky, width, two ? beside + b * pitch : nullptr, to + b * pitch);
      made += count;
    }
    RowSum<A> rows[row_batch];
    const A* const above = fine + (stretch.begin - first) - base * pitch;
    for (int b = 0; b < batch; ++b) rows[b] = rows_of_output(y, job.down.rows, o + b, above, pitch);
    sum_rows(rows, batch, pitch, phases.split, stretch.length(), buffer + stretch.margin(phases.split), row, stride);
    T* const target = out + (plane * y.out + o) * x.out + column;
    if (!sums) {
      sum_phases(buffer, row, start, phases.coefficient, phases.begin, phases.merge, batch, outputs, target, x.out,
                 past);
      continue;
    }
    sum_results(buffer, row, start, phases.coefficient, phases.begin, phases.merge, batch, outputs, results,
                fine_width + 64, false);
    for (int b = 0; b < batch; ++b) {
      const A* const result = results + b * (fine_width + 64);
      T* const to = target + b * x.out;
      Vec<A> sum{};
      int64_t i = 0;
      for (; i + L <= outputs; i += L) {
        const Vec<A> v = load(result + i);
        sum += v;
        store(to + i, v, past);
      }
      total += sum_of_lanes<A>(sum);
      for (; i < outputs; ++i) total += result[i], to[i] = narrow<T>(result[i]);
    }
  }
  return total;
}

int64_t workspace(DType, const FilteredLrelu& how) {
  const int64_t tile = Job<float>::columns_of(how);
  return how.planes() * ((how.down.x.out + tile - 1) / tile) * ((how.down.y.out + band - 1) / band) * sizeof(double);
}

void apply(Stream, DType dtype, const FilteredLrelu& how, const LreluInputs& in, void* out, void* sums,
           void* workspace) {
  with_type(dtype, [&](auto type) {
    using T = decltype(type);
    using A = Accumulate<T>;
    const Job<T> job(how, in);
    T* const target = static_cast<T*>(out);
    double* const partial = static_cast<double*>(workspace);
    const int64_t outputs = how.down.x.out * how.down.y.out, parts = job.tiles * job.bands;
    const bool past = how.planes() * outputs * static_cast<int64_t>(sizeof(T)) >= past_cache &&
                      aligned_rows(target, how.down.x.out) && job.tile % lanes<A> == 0;
    // An output costs about ten of a pass that adds two tensors.
    parallel(how.planes() * parts, 10 * std::max<int64_t>(outputs / std::max<int64_t>(parts, 1), 1), [&](int64_t unit) {
      const int64_t plane = unit / parts, part = unit % parts;
      const double sum =
          tile_of_band(job, plane, part / job.tiles * band, part % job.tiles * job.tile, target, sums != nullptr, past);
      if (sums) partial[unit] = sum;
    });
    for (int64_t channel = 0; sums && channel < how.up.channels; ++channel) {
      LongSum sum;
      for (int64_t sample = 0; sample < how.up.samples; ++sample) {
        for (int64_t part = 0; part < parts; ++part)
          sum.add(partial[(sample * how.up.channels + channel) * parts + part]);
      }
      static_cast<A*>(sums)[channel] = sum.value();
    }
  });
}

}  // namespace

extern const FilteredLreluKernels filtered_lrelu{workspace, apply};

}  // namespace ganops::cpu::GANOPS_ISA
