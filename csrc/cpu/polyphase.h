// Resampling rows of memory: an axis of upfirdn (../math/upfirdn.h) cut into phases.
//
// Let P be the least common multiple of up and down. With merge = P/down and split = P/up, output merge·q + s is a sum
// of neighbours in phases of the input, x[split·q + r], and the same sum for every q. So a row whose phases lie one
// after another is filtered by whole vectors, with no gaps and no multiplications with zero:
//
//     combine_rows     Σ_j c_j·(row j), its phases apart        along y, or a row made ready for what follows
//     combine_phases   each output phase, interleaved again     along x
//
// Sums of a common number of terms are unrolled. Rows that are summed lie between zeros, which stand for the padding.
#pragma once

#include <algorithm>
#include <numeric>
#include <type_traits>

#include "../kernels/upfirdn.h"
#include "../math/upfirdn.h"
#include "vectors.h"

namespace ganops::cpu {
namespace GANOPS_ISA {
namespace {

// Elements of a row made ready, all its phases; what is wider is cut into tiles.
constexpr int64_t row_capacity = 2048;
// Rows that pass through each step together: a load that follows right after the store of what it reads would wait.
constexpr int row_batch = 4;

constexpr int most_terms = most_taps + most_factor;

// The taps of an axis by the phase of the output that they serve, in correlation order.
template <class A>
struct Taps {
  int begin[most_factor + 1];  // the taps of the phase whose first tap is k are [begin[k], begin[k + 1])
  A coefficient[most_terms] = {};
  int most;  // terms of a sum at most

  template <class Value>
  Taps(const Axis& axis, const Value& value) {
    begin[0] = 0, most = 0;
    for (int64_t first = 0; first < axis.up; ++first) {
      int next = begin[first];
      for (int64_t k = first; k < axis.taps; k += axis.up) coefficient[next++] = value(k);
      begin[first + 1] = next;
      most = std::max(most, next - begin[first]);
    }
  }
};

template <class A>
struct Phases {
  int64_t split, merge;
  int64_t least, span;  // the first output of each phase reads q in [least, least + span]
  bool uniform;         // every output phase is a sum of as many terms
  int begin[most_factor + 1];
  A coefficient[most_terms];
  int64_t tap[most_terms], phase[most_terms], offset[most_terms];  // offset from `least`

  template <class Value>
  Phases(const Axis& axis, const Value& value) {
    const int64_t period = std::lcm(axis.up, axis.down);
    split = period / axis.up, merge = period / axis.down;
    int next = 0;
    int64_t most = INT64_MIN;
    least = INT64_MAX;
    uniform = true;
    for (int64_t s = 0; s < merge; ++s) {
      begin[s] = next;
      auto [i, k] = meeting(axis, s);
      for (; k < axis.taps; k += axis.up, ++i) {
        const int64_t r = (i % split + split) % split;
        coefficient[next] = value(k), tap[next] = k, phase[next] = r, offset[next] = (i - r) / split;
        least = std::min(least, offset[next]), most = std::max(most, offset[next]);
        ++next;
      }
      uniform &= next - begin[s] == next / (s + 1) && next % (s + 1) == 0;
    }
    begin[merge] = next;
    for (int j = 0; j < next; ++j) offset[j] -= least;
    if (next == 0) least = most = 0;
    span = most - least;
  }

  int terms() const { return uniform ? begin[1] : 0; }
  // Outputs of a tile whose row, with its phases apart, has room; vectors reach beyond the last.
  int64_t tile() const { return (row_capacity / split - span - 2 * lanes<A>) / 64 * 64 * merge; }
  // Where the terms begin in a row whose phases are `stride` apart.
  void places(int64_t stride, int64_t* start) const {
    for (int j = 0; j < begin[merge]; ++j) start[j] = phase[j] * stride + offset[j];
  }
  // Elements from a phase of a row to the next, for a tile of so many outputs.
  int64_t stride(int64_t outputs) const {
    const int64_t length = (outputs + merge - 1) / merge + span + lanes<A>;
    return (length + lanes<A> - 1) / lanes<A> * lanes<A>;
  }
};

// What a tile of outputs reads of a row of x: elements [begin, end), or none. Phases begin with element split·first.
struct Stretch {
  int64_t first, begin, end;

  template <class A>
  Stretch(const Phases<A>& phases, int64_t in, int64_t from, int64_t outputs) {
    const auto bounded = [&](int64_t i) { return std::min(std::max<int64_t>(i, 0), in); };
    first = from / phases.merge + phases.least;
    begin = bounded(first * phases.split);
    end = bounded(((from + outputs - 1) / phases.merge + phases.least + phases.span + 1) * phases.split);
  }
  int64_t length() const { return end - begin; }
  // Zeros before the stretch in each phase of a row.
  int64_t margin(int64_t split) const { return (begin - first * split) / split; }
  // Elements to leave free before the rows, so that the stretch lies where whole vectors do.
  template <class A>
  int64_t shift(const Phases<A>& phases) const {
    return (lanes<A> - margin(phases.split) % lanes<A>) % lanes<A>;
  }
};

// Rows that are summed into one: neighbours, `terms` of them from `from` on.
template <class T>
struct RowSum {
  const Accumulate<T>* c;
  const T* from;
  int terms;
};

// The rows that output row o sums, from `at` in row 0 on, rows being `pitch` apart; those outside of the image are left
// out.
template <class T>
RowSum<T> rows_of_output(const Axis& axis, const Taps<Accumulate<T>>& taps, int64_t o, const T* at, int64_t pitch) {
  const auto [i, tap] = meeting(axis, o);
  const int begin = taps.begin[tap], count = taps.begin[tap + 1] - begin;
  const int64_t first = i < 0 ? -i : 0, end = count < axis.in - i ? count : axis.in - i;
  if (first >= end) return {taps.coefficient, at, 0};
  return {taps.coefficient + begin + first, at + (i + first) * pitch, static_cast<int>(end - first)};
}

// Σ_j c_j·x_j, vector by vector, with the address of each x_j given. Those of a known number of terms are in registers,
// and the coefficients too.
template <class T, int known>
class Sum {
  using A = Accumulate<T>;

 public:
  template <class Address>
  GANOPS_INLINE Sum(const A* c, const Address& address) {
    for (int j = 0; j < known; ++j) c_[j] = broadcast(c[j]), from_[j] = address(j);
  }
  GANOPS_INLINE Vec<A> operator()(int64_t at) const {
    Vec<A> total = c_[0] * load(from_[0] + at);
#pragma GCC unroll 16
    for (int j = 1; j < known; ++j) total += c_[j] * load(from_[j] + at);
    return total;
  }

 private:
  Vec<A> c_[known];
  const T* from_[known];
};

template <class T, class Address>
GANOPS_INLINE Vec<Accumulate<T>> sum_of_some(const Accumulate<T>* c, int terms, const Address& address) {
  Vec<Accumulate<T>> total{};
  if (terms > 0) total = c[0] * load(address(0));
  for (int j = 1; j < terms; ++j) total += c[j] * load(address(j));
  return total;
}

// to[r·stride + q] = sum(split·q + r), `count` elements in all; one(w) is an element of what sum(w) is a vector of.
template <int split, class A, class Many, class One>
GANOPS_INLINE void write_phases(int64_t splits, int64_t count, A* to, int64_t stride, const Many& sum, const One& one) {
  constexpr int L = lanes<A>;
  int64_t w = 0;
  if constexpr (split == 1) {
    for (; w + L <= count; w += L) store(to + w, sum(w));
    if (w < count && count >= L) return store(to + count - L, sum(count - L));
    for (; w < count; ++w) to[w] = one(w);
  } else if constexpr (split == 2) {
    for (; w + 2 * L <= count; w += 2 * L) {
      const Vec<A> x = sum(w), y = sum(w + L);
      store(to + w / 2, even_lanes<A>(x, y));
      store(to + stride + w / 2, odd_lanes<A>(x, y));
    }
    for (; w < count; ++w) to[w % 2 * stride + w / 2] = one(w);
  } else {
    for (; w < count; ++w) to[w % splits * stride + w / splits] = one(w);
  }
}

// to[b·pitch + r·stride + q] = element split·q + r of sum b of a batch, of rows that are `from_pitch` apart; `count`
// elements in all. Sums of the `known` number of terms are unrolled.
template <class T, int known, int split>
void combine_rows(const RowSum<T>* sums, int batch, int64_t from_pitch, int64_t splits, int64_t count,
                  Accumulate<T>* to, int64_t pitch, int64_t stride) {
  using A = Accumulate<T>;
  for (int b = 0; b < batch; ++b, to += pitch) {
    const auto [c, from, terms] = sums[b];
    const auto one = [c = c, from = from, terms = terms, from_pitch](int64_t w) {
      A total = terms > 0 ? c[0] * A(widen(from[w])) : A(0);
      for (int j = 1; j < terms; ++j) total += c[j] * A(widen(from[j * from_pitch + w]));
      return total;
    };
    if constexpr (known > 0) {
      if (terms == known) {
        const Sum<T, known> sum(c, [from = from, from_pitch](int j) { return from + j * from_pitch; });
        write_phases<split>(splits, count, to, stride, sum, one);
        continue;
      }
    }
    const auto sum = [c = c, from = from, terms = terms, from_pitch](int64_t w) {
      return sum_of_some<T>(c, terms, [&](int j) { return from + j * from_pitch + w; });
    };
    write_phases<split>(splits, count, to, stride, sum, one);
  }
}

// out[b·out_pitch + merge·q + s] = Σ_j c_sj·rows[b·pitch + start_sj + q] for each of a batch of rows; `count` elements
// in all. The terms of phase s are [begin[s], begin[s + 1]), or as many as are `known`.
template <class T, int known, int merge>
void combine_phases(const Accumulate<T>* rows, int64_t pitch, const int64_t* start, const Accumulate<T>* c,
                    const int* begin, int64_t merges, int batch, int64_t count, T* out, int64_t out_pitch, bool past) {
  using A = Accumulate<T>;
  constexpr int L = lanes<A>;
  const auto phase = [=](int s) {
    if constexpr (known > 0) {
      return Sum<A, known>(c + s * known, [=](int j) { return rows + start[s * known + j]; });
    } else {
      return [=](int64_t at) {
        const int first = begin[s];
        return sum_of_some<A>(c + first, begin[s + 1] - first, [&](int j) { return rows + start[first + j] + at; });
      };
    }
  };
  if constexpr (merge == 1) {
    const auto sum = phase(0);
    for (int b = 0; b < batch; ++b, out += out_pitch) {
      const int64_t row = b * pitch;
      int64_t q = 0;
      for (; q + L <= count; q += L) store(out + q, sum(row + q), past);
      if (q < count) store_some(out + q, sum(row + q), count - q);
    }
  } else if constexpr (merge == 2) {
    const auto first = phase(0), second = phase(1);
    for (int b = 0; b < batch; ++b, out += out_pitch) {
      const int64_t row = b * pitch;
      int64_t o = 0;
      for (; o + 2 * L <= count; o += 2 * L) {
        const Vec<A> x = first(row + o / 2), y = second(row + o / 2);
        store(out + o, interleaved_low<A>(x, y), past);
        store(out + o + L, interleaved_high<A>(x, y), past);
      }
      if (o < count) {
        const Vec<A> x = first(row + o / 2), y = second(row + o / 2);
        store_some(out + o, interleaved_low<A>(x, y), smaller(L, count - o));
        if (o + L < count) store_some(out + o + L, interleaved_high<A>(x, y), count - o - L);
      }
    }
  } else {
    for (int s = 0; s < merges; ++s) {
      const auto sum = phase(s);
      for (int b = 0; b < batch; ++b) {
        T* to = out + b * out_pitch;
        for (int64_t q = 0; merges * q + s < count; q += L) {
          const Vec<A> total = sum(b * pitch + q);
          for (int64_t l = 0; l < L && merges * (q + l) + s < count; ++l)
            to[merges * (q + l) + s] = narrow<T>(total[l]);
        }
      }
    }
  }
}

// Calls f with the number as a constant where sums of so many terms have a loop of their own, as those of the usual
// filters over floats have, else with 0.
template <class T, class F>
auto with_terms(int terms, const F& f) {
  if constexpr (std::is_same_v<T, float>) {
    switch (terms) {
      case 1:
        return f(std::integral_constant<int, 1>{});
      case 2:
        return f(std::integral_constant<int, 2>{});
      case 3:
        return f(std::integral_constant<int, 3>{});
      case 4:
        return f(std::integral_constant<int, 4>{});
      case 6:
        return f(std::integral_constant<int, 6>{});
      case 12:
        return f(std::integral_constant<int, 12>{});
    }
  }
  return f(std::integral_constant<int, 0>{});
}

template <class T>
using CombineRows = decltype(&combine_rows<T, 0, 0>);
template <class T>
using CombinePhases = decltype(&combine_phases<T, 0, 0>);

// The loop for sums of `terms` rows.
template <class T>
CombineRows<T> row_combination(int terms, int64_t split) {
  return with_terms<T>(terms, [&](auto known) -> CombineRows<T> {
    return split == 1 ? combine_rows<T, known, 1> : split == 2 ? combine_rows<T, known, 2> : combine_rows<T, 0, 0>;
  });
}

// The loop for output phases that are sums of `terms` terms each; 0: of different numbers.
template <class T>
CombinePhases<T> phase_combination(int terms, int64_t merge) {
  return with_terms<T>(terms, [&](auto known) -> CombinePhases<T> {
    return merge == 1   ? combine_phases<T, known, 1>
           : merge == 2 ? combine_phases<T, known, 2>
                        : combine_phases<T, 0, 0>;
  });
}

}  // namespace
}  // namespace GANOPS_ISA
}  // namespace ganops::cpu
