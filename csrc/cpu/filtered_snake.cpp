// The anti-aliased Snake on the CPU.
//
// A thread takes a stretch of a row, tile by tile. Of a tile the signals lie in the first-level cache with what the
// filters reach beyond it; so does the fine grid, its phases apart, so that every filter is one over neighbours, by
// whole vectors. Two filters of six taps a phase, those of the usual twelve at ratio 2, stay in registers.
#include "../kernels/filtered_snake.h"

#include "../math/filtered_snake.h"

#include <algorithm>
#include <type_traits>

#include "vectors.h"

namespace ganops::cpu::GANOPS_ISA {
namespace {

// Points of the fine grid in a tile, and tiles in a thread's stretch of a row.
constexpr int64_t fine_tile = 2048, tiles_of_stretch = 16;

// Room for the most that the filters reach beyond a tile, in whole vectors, and for a vector that ends beyond it.
constexpr int64_t signal_capacity = fine_tile + 4 * most_snake_taps + 64,
                  fine_capacity = fine_tile + most_snake_ratio * 64 + 64;

// What the points of an adjoint's edge receive: weights of the places next to it.
template <class A>
struct Edge {
  int count = 0;
  A weight[2 * most_snake_taps];

  template <class Value>
  void fill(int most, const Value& value) {
    count = most;
    for (int i = 0; i < most; ++i) weight[i] = value(i);
  }
};

// A filter's branches, with their coefficients in the order of the elements.
template <class A>
struct Bank {
  int ratio, least = 0, most = 0;  // the places read, from the one written
  Branch branch[most_snake_ratio];
  A coefficient[most_snake_ratio][most_snake_taps];

  template <class Make>
  Bank(int ratio, const A* filter, A gain, const Make& make) : ratio(ratio) {
    for (int s = 0; s < ratio; ++s) {
      branch[s] = make(s);
      least = std::min(least, branch[s].first), most = std::max(most, branch[s].first + branch[s].count - 1);
      for (int j = 0; j < branch[s].count; ++j) {
        coefficient[s][j] = gain * filter[branch[s].tap + j * branch[s].step];
      }
    }
  }
  A one(int s, const A* at) const {
    A sum = 0;
    for (int j = 0; j < branch[s].count; ++j) sum += coefficient[s][j] * at[branch[s].first + j];
    return sum;
  }
};

// A branch applied to vectors; one of a known number of terms is in registers.
template <class A, int terms>
class Filter {
 public:
  GANOPS_INLINE Filter(const Bank<A>& bank, int s) : first_(bank.branch[s].first) {
    for (int j = 0; j < terms; ++j) c_[j] = broadcast(bank.coefficient[s][j]);
  }
  GANOPS_INLINE Vec<A> operator()(const A* at) const {
    at += first_;
    Vec<A> sum = c_[0] * load(at);
#pragma GCC unroll 16
    for (int j = 1; j < terms; ++j) sum += c_[j] * load(at + j);
    return sum;
  }

 private:
  int64_t first_;
  Vec<A> c_[terms];
};

template <class A>
class Filter<A, 0> {
 public:
  GANOPS_INLINE Filter(const Bank<A>& bank, int s)
      : first_(bank.branch[s].first), count_(bank.branch[s].count), c_(bank.coefficient[s]) {}
  GANOPS_INLINE Vec<A> operator()(const A* at) const {
    Vec<A> sum{};
    for (int j = 0; j < count_; ++j) sum += c_[j] * load(at + first_ + j);
    return sum;
  }

 private:
  int64_t first_;
  int count_;
  const A* c_;
};

template <class T>
struct Job {
  using A = Accumulate<T>;

  const SnakeShape& shape;
  const A *alpha, *q;
  Bank<A> up, down, up_adjoint, down_adjoint;
  Edge<A> down_first, down_last, up_first, up_last;
  int64_t tile, lead, tail, stride;  // places of a tile; those before and behind that its fine grid has

  Job(const SnakeShape& shape, const SnakeInputs& in)
      : shape(shape),
        alpha(static_cast<const A*>(in.alpha)),
        q(static_cast<const A*>(in.q)),
        up(shape.ratio, static_cast<const A*>(in.up), shape.ratio,
           [&](int s) { return up_branch(s, shape.up_taps, shape.ratio); }),
        down(shape.ratio, static_cast<const A*>(in.down), 1,
             [&](int s) { return down_branch(s, shape.down_taps, shape.ratio); }),
        up_adjoint(shape.ratio, static_cast<const A*>(in.up), shape.ratio,
                   [&](int s) { return up_branch(s, shape.up_taps, shape.ratio).adjoint(); }),
        down_adjoint(shape.ratio, static_cast<const A*>(in.down), 1,
                     [&](int s) { return down_branch(s, shape.down_taps, shape.ratio).adjoint(); }) {
    const int r = shape.ratio, reach = r + most_snake_taps;
    const A *u = static_cast<const A*>(in.up), *d = static_cast<const A*>(in.down);
    down_first.fill(most_snake_taps, [&](int t) { return down_before(d, shape.down_taps, r, t); });
    down_last.fill(most_snake_taps, [&](int e) { return down_after(d, shape.down_taps, r, e); });
    up_first.fill(reach, [&](int m) { return A(r) * up_before(u, shape.up_taps, r, m); });
    up_last.fill(reach, [&](int e) { return A(r) * up_after(u, shape.up_taps, r, e); });
    constexpr int L = lanes<A>;
    tile = fine_tile / r / 64 * 64;
    lead = (std::max(-down.least, -up_adjoint.least) + L - 1) / L * L;
    tail = std::max(down.most, up_adjoint.most);
    stride = tile + lead + (tail + 2 * L - 1) / L * L;
  }

  bool usual() const { return shape.ratio == 2 && shape.up_taps == 12 && shape.down_taps == 12; }
  int64_t stretch() const { return tile * tiles_of_stretch; }
  int64_t stretches() const { return (shape.length + stretch() - 1) / stretch(); }
};

// A tile of a signal, its places from `begin` on; beyond the row its edge repeated, or zeros.
template <class T>
void lay(const T* row, int64_t length, int64_t begin, int64_t count, bool repeat, Accumulate<T>* to) {
  using A = Accumulate<T>;
  constexpr int L = lanes<A>;
  const int64_t first = smaller(std::max<int64_t>(-begin, 0), count),
                last = std::max(first, smaller(length - begin, count));
  std::fill(to, to + first, repeat ? A(widen(row[0])) : A(0));
  int64_t i = first;
  for (; i + L <= last; i += L) store(to + i, load(row + begin + i));
  for (; i < last; ++i) to[i] = widen(row[begin + i]);
  std::fill(to + last, to + count, repeat ? A(widen(row[length - 1])) : A(0));
}

// The fine grid of a tile of `places` places from `begin` on, its phases apart; [from, to) of each phase is computed.
template <class A>
struct Grid {
  A* at;
  int64_t stride, begin, length, from, to;
  int ratio;

  A* phase(int s) const { return at + s * stride; }

  // Beyond the row the edge repeated: each phase continues the first or the last point of all.
  void repeat_edges() const {
    if (begin + from < 0) set_before(phase(0)[-begin]);
    if (begin + to > length) set_after(phase(ratio - 1)[length - 1 - begin]);
  }
  void clear_beyond() const { set_before(0), set_after(0); }

 private:
  void set_before(A value) const {
    for (int s = 0; s < ratio; ++s) std::fill(phase(s) + from, phase(s) + std::max(from, smaller(to, -begin)), value);
  }
  void set_after(A value) const {
    for (int s = 0; s < ratio; ++s)
      std::fill(phase(s) + smaller(to, std::max(from, length - begin)), phase(s) + to, value);
  }
};

// out[i] = Σ over the phases, for i in [0, count).
template <class T, int ratio, int terms>
GANOPS_INLINE void gather(const Bank<Accumulate<T>>& bank, const Grid<Accumulate<T>>& grid, int64_t count, T* out,
                          bool past) {
  using A = Accumulate<T>;
  constexpr int L = lanes<A>;
  const auto write = [&](const auto& sum) {
    int64_t i = 0;
    for (; i + L <= count; i += L) store(out + i, sum(i), past);
    if (i < count) store_some(out + i, sum(i), count - i);
  };
  if constexpr (ratio == 2) {
    const Filter<A, terms> even(bank, 0), odd(bank, 1);
    const A *first = grid.phase(0), *second = grid.phase(1);
    write([&](int64_t i) { return even(first + i) + odd(second + i); });
  } else {
    write([&](int64_t i) {
      Vec<A> sum{};
      for (int s = 0; s < bank.ratio; ++s) sum += Filter<A, 0>(bank, s)(grid.phase(s) + i);
      return sum;
    });
  }
}

// The first and the last element of the adjoint of U, with what the repeated samples took part in.
template <class T>
void write_edges(const Job<T>& job, const Grid<Accumulate<T>>& grid, int64_t count, T* out) {
  using A = Accumulate<T>;
  const int r = grid.ratio;
  const int64_t length = grid.length, last = length - 1 - grid.begin;
  const auto plain = [&](int64_t i) {
    A sum = 0;
    for (int s = 0; s < r; ++s) sum += job.up_adjoint.one(s, grid.phase(s) + i);
    return sum;
  };
  A first = 0, behind = 0;
  const bool starts = grid.begin == 0, ends = last < count;
  for (int64_t m = 0; starts && m < smaller(job.up_first.count, r * length); ++m) {
    if (job.up_first.weight[m] != 0) first += job.up_first.weight[m] * grid.phase(m % r)[m / r];
  }
  for (int64_t e = 0; ends && e < smaller(job.up_last.count, r * length); ++e) {
    if (job.up_last.weight[e] != 0) behind += job.up_last.weight[e] * grid.phase(r - 1 - e % r)[last - e / r];
  }
  if (starts) out[0] = narrow<T>(plain(0) + first + (length == 1 ? behind : 0));
  if (ends && length > 1) out[last] = narrow<T>(plain(last) + behind);
}

// h = the adjoint of D at grad.
template <class T, int terms>
GANOPS_INLINE void spread_gradient(const Job<T>& job, const T* row, const Accumulate<T>* grad,
                                   const Grid<Accumulate<T>>& grid) {
  using A = Accumulate<T>;
  const int64_t length = grid.length, last = length - 1 - grid.begin;
  for (int s = 0; s < grid.ratio; ++s) {
    const Filter<A, terms> filter(job.down_adjoint, s);
    A* const h = grid.phase(s);
    for (int64_t i = grid.from; i < grid.to; i += lanes<A>) store(h + i, filter(grad + i));
  }
  grid.clear_beyond();
  const auto add = [&](const Edge<A>& edge, int64_t place, int s, const auto& element) {
    if (place < grid.from || place >= grid.to) return;
    for (int64_t i = 0; i < smaller(edge.count, length); ++i) {
      if (edge.weight[i] != 0) grid.phase(s)[place] += edge.weight[i] * A(widen(row[element(i)]));
    }
  };
  add(job.down_first, -grid.begin, 0, [](int64_t i) { return i; });
  add(job.down_last, last, grid.ratio - 1, [&](int64_t i) { return length - 1 - i; });
}

template <class T>
struct Pass {
  const T *x, *grad, *tangent;
  T *out, *x_out;
  const Accumulate<T>*alpha_tangent, *q_tangent;
  double* partial;
  bool past;
};

enum class Order { value, first, second };

// One stretch of one row.
template <class T, Order order, int ratio, int terms>
void stretch_of_row(const Job<T>& job, const Pass<T>& pass, int64_t row, int64_t start, double* partial) {
  using A = Accumulate<T>;
  using V = Vec<A>;
  constexpr int L = lanes<A>;
  const SnakeShape& shape = job.shape;
  const int64_t length = shape.length, channel = row % shape.channels, offset = row * length;
  const SnakeParameters<V> p{broadcast(job.alpha[channel]), broadcast(job.q[channel])};
  SnakeParameters<V> direction{};
  if (order == Order::second) direction = {broadcast(pass.alpha_tangent[channel]), broadcast(pass.q_tangent[channel])};
  alignas(64) A signal[signal_capacity], tangent[order == Order::second ? signal_capacity : 1];
  alignas(64) A fine[fine_capacity], along[order == Order::second ? fine_capacity : 1];
  alignas(64) A grad[order == Order::value ? 1 : signal_capacity];
  double alpha_sum = 0, q_sum = 0;
  for (int64_t begin = start; begin < smaller(start + job.stretch(), length); begin += job.tile) {
    const int64_t places = smaller(job.tile, length - begin);
    const int64_t to = -job.lead + (places + job.tail + job.lead + L - 1) / L * L;
    const Grid<A> grid{fine + job.lead, job.stride, begin, length, -job.lead, to, shape.ratio};
    // Signals from the first to the last place that the filters read.
    const auto lay_signal = [&](const T* x, const Bank<A>& bank, bool repeat, A* to_signal) {
      const int64_t before = job.lead - bank.least;
      lay(x + offset, length, begin - before, before + to + bank.most, repeat, to_signal);
      return to_signal + before;
    };
    const A* const x = lay_signal(pass.x, job.up, true, signal);
    if constexpr (order == Order::value) {
      for (int s = 0; s < shape.ratio; ++s) {
        const Filter<A, terms> filter(job.up, s);
        A* const v = grid.phase(s);
        for (int64_t i = grid.from; i < to; i += L) store(v + i, snake<A>(p, filter(x + i)));
      }
      grid.repeat_edges();
      gather<T, ratio, terms>(job.down, grid, places, pass.out + offset + begin, pass.past);
      continue;
    }
    const A* const above = lay_signal(pass.grad, job.down_adjoint, false, grad);
    spread_gradient<T, terms>(job, pass.grad + offset, above, grid);
    V by_alpha{}, by_q{};
    if constexpr (order == Order::first) {
      for (int s = 0; s < shape.ratio; ++s) {
        const Filter<A, terms> filter(job.up, s);
        A* const at = grid.phase(s);
        for (int64_t i = grid.from; i < to; i += L) {
          const V u = filter(x + i), h = load(at + i);
          const SnakeSlopes<A, V> slopes(p, u);
          store(at + i, h * slopes.by_u(p));
          if (i >= 0 && i < places) by_alpha += h * u * slopes.twice, by_q += h * slopes.square;
        }
      }
      alpha_sum += sum_of_lanes<A>(by_alpha) * job.q[channel];
    } else if constexpr (order == Order::second) {
      const A* const t = lay_signal(pass.tangent, job.up, true, tangent);
      const Grid<A> derivative{along + job.lead, job.stride, begin, length, -job.lead, to, shape.ratio};
      for (int s = 0; s < shape.ratio; ++s) {
        const Filter<A, terms> filter(job.up, s);
        A *const at = grid.phase(s), *const v = derivative.phase(s);
        for (int64_t i = grid.from; i < to; i += L) {
          const V u = filter(x + i), w = filter(t + i), h = load(at + i);
          const SnakeCurvature<A, V> curvature(p, direction, u, w);
          store(v + i, curvature.along);
          store(at + i, h * curvature.by_u);
          if (i >= 0 && i < places) by_alpha += h * curvature.by_alpha, by_q += h * curvature.by_q;
        }
      }
      derivative.repeat_edges();
      gather<T, ratio, terms>(job.down, derivative, places, pass.out + offset + begin, pass.past);
      alpha_sum += sum_of_lanes<A>(by_alpha);
    }
    q_sum += sum_of_lanes<A>(by_q);
    T* const x_out = pass.x_out + offset + begin;
    gather<T, ratio, terms>(job.up_adjoint, grid, places, x_out, pass.past);
    write_edges(job, grid, places, x_out);
  }
  if (order != Order::value) partial[0] = alpha_sum, partial[1] = q_sum;
}

template <class T, Order order>
void run(const SnakeShape& shape, const SnakeInputs& in, Pass<T> pass, const SnakeGradients* sums = nullptr) {
  using A = Accumulate<T>;
  const Job<T> job(shape, in);
  pass.x = static_cast<const T*>(in.x);
  pass.past = shape.rows() * shape.length * static_cast<int64_t>(sizeof(T)) >= past_cache &&
              (pass.out == nullptr || aligned_rows(pass.out, shape.length)) &&
              (pass.x_out == nullptr || aligned_rows(pass.x_out, shape.length));
  auto* stretch = &stretch_of_row<T, order, 0, 0>;
  if constexpr (!std::is_same_v<T, double>) {
    if (job.usual()) stretch = &stretch_of_row<T, order, 2, 6>;
  }
  const int64_t parts = job.stretches();
  // An element costs about ten of a pass that adds two tensors.
  parallel(shape.rows() * parts, 10 * smaller(shape.length, job.stretch()), [&](int64_t unit) {
    stretch(job, pass, unit / parts, unit % parts * job.stretch(), pass.partial + 2 * unit);
  });
  if (order == Order::value) return;
  for (int64_t channel = 0; channel < shape.channels; ++channel) {
    LongSum by_alpha, by_q;
    for (int64_t sample = 0; sample < shape.samples; ++sample) {
      for (int64_t part = 0; part < parts; ++part) {
        const double* const of = pass.partial + 2 * ((sample * shape.channels + channel) * parts + part);
        by_alpha.add(of[0]), by_q.add(of[1]);
      }
    }
    static_cast<A*>(sums->alpha)[channel] = by_alpha.value();
    static_cast<A*>(sums->q)[channel] = by_q.value();
  }
}

int64_t workspace(DType, const SnakeShape& shape) {
  const int64_t stretch = fine_tile / shape.ratio / 64 * 64 * tiles_of_stretch;
  return shape.rows() * ((shape.length + stretch - 1) / stretch) * 2 * sizeof(double);
}

void forward(Stream, DType dtype, const SnakeShape& shape, const SnakeInputs& in, void* out) {
  with_type(dtype, [&](auto type) {
    using T = decltype(type);
    Pass<T> pass{};
    pass.out = static_cast<T*>(out);
    run<T, Order::value>(shape, in, pass);
  });
}

void backward(Stream, DType dtype, const SnakeShape& shape, const void* grad, const SnakeInputs& in,
              const SnakeGradients& out, void* workspace) {
  with_type(dtype, [&](auto type) {
    using T = decltype(type);
    Pass<T> pass{};
    pass.grad = static_cast<const T*>(grad), pass.x_out = static_cast<T*>(out.x);
    pass.partial = static_cast<double*>(workspace);
    run<T, Order::first>(shape, in, pass, &out);
  });
}

void double_backward(Stream, DType dtype, const SnakeShape& shape, const SnakeTangents& tangents, const void* grad,
                     const SnakeInputs& in, void* grad_out, const SnakeGradients& out, void* workspace) {
  with_type(dtype, [&](auto type) {
    using T = decltype(type);
    using A = Accumulate<T>;
    Pass<T> pass{};
    pass.grad = static_cast<const T*>(grad), pass.tangent = static_cast<const T*>(tangents.x);
    pass.alpha_tangent = static_cast<const A*>(tangents.alpha), pass.q_tangent = static_cast<const A*>(tangents.q);
    pass.out = static_cast<T*>(grad_out), pass.x_out = static_cast<T*>(out.x);
    pass.partial = static_cast<double*>(workspace);
    run<T, Order::second>(shape, in, pass, &out);
  });
}

}  // namespace

extern const FilteredSnakeKernels filtered_snake{workspace, forward, backward, double_backward};

}  // namespace ganops::cpu::GANOPS_ISA
