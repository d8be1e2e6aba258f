// Minibatch discrimination on the CPU: a comparison at a time, each pair of samples once.
//
// A task takes a few comparisons and copies each into blocks (block, dimension, lane) of `lanes` samples, the
// accumulation type throughout, so that whatever a pair of blocks needs lies together. Four samples i at a time meet a
// block of samples j ≥ i: distances over all dimensions in registers, the exponentials side by side, then the terms of
// the slope, which go to i and, negated, to j. What i gets is summed by lane and over the lanes at the end of its row.
// Where there are few comparisons, several tasks share one: each takes some of its rows, and their sums are added in
// the order of the tasks. The work is cut by the sizes alone: the same bits on any number of threads.
#include "../math/minibatch_discrimination.h"

#include "../kernels/minibatch_discrimination.h"
#include "loops.h"

namespace ganops::cpu::GANOPS_ISA {
namespace {

#if defined(__AVX512F__)
constexpr int64_t vector_bytes = 64;
#elif defined(__AVX__)
constexpr int64_t vector_bytes = 32;
#else
constexpr int64_t vector_bytes = 16;
#endif

template <class A>
struct Block {
  typedef A Vector __attribute__((vector_size(vector_bytes)));
  typedef typename Format<A>::Bits Bits __attribute__((vector_size(vector_bytes)));

  static constexpr int64_t width = vector_bytes / sizeof(A);
  static constexpr int vectors = 2, rows = 4;
  static constexpr int64_t lanes = vectors * width;

  static constexpr typename Format<A>::Bits sign = typename Format<A>::Bits(1) << (8 * sizeof(A) - 1);

  static GANOPS_INLINE Vector absolute(Vector x) { return Vector(Bits(x) & ~(Bits{} + sign)); }
  static GANOPS_INLINE Vector toward(Vector difference, Vector x) {
    const Vector signed_x = Vector((Bits(difference) & (Bits{} + sign)) ^ Bits(x));
    return difference != Vector{} ? signed_x : Vector{};
  }
  static GANOPS_INLINE A sum(const Vector& x) {
    A result = 0;
#pragma omp simd reduction(+ : result)
    for (int64_t l = 0; l < width; ++l) result += x[l];
    return result;
  }
};

// Scratch memory of a task: everything about one comparison.
template <class A>
struct Scratch {
  using B = Block<A>;
  using Vector = typename B::Vector;

  int64_t blocks, size;  // size: of a tensor's part (blocks, dimensions, lanes)
  A *m, *tangents, *grad, *closeness, *slope;
  Vector* row_slope;  // (dimensions, rows): summed by lane

  static int64_t bytes(const Comparisons& all, bool slope) {
    const int64_t padded = (all.samples + B::lanes - 1) / B::lanes * B::lanes;
    const int64_t numbers = padded * (all.dimensions * (1 + all.tangents + slope) + 2);
    return numbers * sizeof(A) + (slope ? all.dimensions * B::rows * vector_bytes : 0);
  }

  Scratch(const Comparisons& all, bool with_slope, char* memory) {
    blocks = (all.samples + B::lanes - 1) / B::lanes;
    size = blocks * B::lanes * all.dimensions;
    m = reinterpret_cast<A*>(memory);
    tangents = m + size;
    grad = tangents + all.tangents * size;
    closeness = grad + blocks * B::lanes;
    slope = closeness + blocks * B::lanes;
    row_slope = reinterpret_cast<Vector*>(slope + (with_slope ? size : 0));
  }
};

// (dimensions, samples) to blocks; lanes without a sample are 0.
template <class T, class A>
void pack(const T* from, int64_t dimensions, int64_t samples, A* to) {
  constexpr int64_t lanes = Block<A>::lanes;
  for (int64_t begin = 0; begin < samples; begin += lanes) {
    const int64_t length = smaller(lanes, samples - begin);
    for (int64_t c = 0; c < dimensions; ++c, to += lanes) {
      const T* row = from + c * samples + begin;
      GANOPS_SIMD
      for (int64_t l = 0; l < length; ++l) to[l] = widen(row[l]);
      for (int64_t l = length; l < lanes; ++l) to[l] = 0;
    }
  }
}

// The sums of one comparison over every parts-th group of rows; `closeness` and `slope` of the scratch memory start at
// 0.
template <class A>
void compare(const Comparisons& all, const Scratch<A>& s, bool with_slope, int64_t part, int64_t parts) {
  using B = Block<A>;
  using Vector = typename B::Vector;
  constexpr int64_t lanes = B::lanes, width = B::width;
  constexpr int rows = B::rows, vectors = B::vectors;
  const int64_t samples = all.samples, dimensions = all.dimensions;
  const auto at = [](const A* p) { return *reinterpret_cast<const Vector*>(p); };

  for (int64_t first = part * rows; first < samples; first += parts * rows) {
    // Row r of this group and dimension c: at [c * lanes + r] of the block that holds it.
    const int64_t own = first / lanes * lanes * dimensions + first % lanes;
    A row_closeness[rows] = {};
    if (with_slope) {
      for (int64_t c = 0; c < dimensions * rows; ++c) s.row_slope[c] = Vector{};
    }
    for (int64_t block = first / lanes; block < s.blocks; ++block) {
      const int64_t other = block * lanes * dimensions, begin = block * lanes;
      const A *mi = s.m + own, *mj = s.m + other;
      alignas(64) A k[rows * lanes], w[rows * lanes];

      Vector d[rows][vectors] = {};
      for (int64_t c = 0; c < dimensions; ++c) {
#pragma GCC unroll 8
        for (int v = 0; v < vectors; ++v) {
          const Vector x = at(mj + c * lanes + v * width);
#pragma GCC unroll 8
          for (int r = 0; r < rows; ++r) d[r][v] += B::absolute(x - mi[c * lanes + r]);
        }
      }
      for (int r = 0; r < rows; ++r) {
        for (int v = 0; v < vectors; ++v) *reinterpret_cast<Vector*>(k + r * lanes + v * width) = -d[r][v];
      }
      GANOPS_SIMD
      for (int64_t l = 0; l < rows * lanes; ++l) k[l] = exponential_nonpositive(k[l]);

      for (int64_t tangent = 0; tangent < all.tangents; ++tangent) {
        const A *ti = s.tangents + tangent * s.size + own, *tj = s.tangents + tangent * s.size + other;
        Vector q[rows][vectors] = {};
        for (int64_t c = 0; c < dimensions; ++c) {
#pragma GCC unroll 8
          for (int v = 0; v < vectors; ++v) {
            const Vector x = at(mj + c * lanes + v * width), t = at(tj + c * lanes + v * width);
#pragma GCC unroll 8
            for (int r = 0; r < rows; ++r) q[r][v] += B::toward(x - mi[c * lanes + r], ti[c * lanes + r] - t);
          }
        }
        for (int r = 0; r < rows; ++r) {
          for (int v = 0; v < vectors; ++v) *reinterpret_cast<Vector*>(k + r * lanes + v * width) *= q[r][v];
        }
      }

      // Pairs with j ≤ i were met with the places changed, and beyond the last sample there is none.
      const bool whole = begin >= first + rows && begin + lanes <= samples && first + rows <= samples;
      const auto drop_others = [&](A* x) {
        if (whole) return;
        for (int r = 0; r < rows; ++r) {
          const int64_t last = first + r < samples ? samples - begin : 0, after = first + r - begin;
          GANOPS_SIMD
          for (int64_t l = 0; l < lanes; ++l) x[r * lanes + l] = l > after && l < last ? x[r * lanes + l] : A(0);
        }
      };
      if (with_slope) {
        for (int r = 0; r < rows; ++r) {
          const A g = s.grad[first + r];
          GANOPS_SIMD
          for (int64_t l = 0; l < lanes; ++l) w[r * lanes + l] = k[r * lanes + l] * (g + s.grad[begin + l]);
        }
        drop_others(w);
      }
      drop_others(k);
      for (int r = 0; r < rows; ++r) {
        Vector sum{};
        for (int v = 0; v < vectors; ++v) sum += at(k + r * lanes + v * width);
        row_closeness[r] += B::sum(sum);
      }
      GANOPS_SIMD
      for (int64_t l = 0; l < lanes; ++l) {
        s.closeness[begin + l] += (k[l] + k[lanes + l]) + (k[2 * lanes + l] + k[3 * lanes + l]);
      }
      if (!with_slope) continue;

      for (int64_t c = 0; c < dimensions; ++c) {
        Vector to_row[rows] = {};
#pragma GCC unroll 8
        for (int v = 0; v < vectors; ++v) {
          const Vector x = at(mj + c * lanes + v * width);
          Vector to_other{};
#pragma GCC unroll 8
          for (int r = 0; r < rows; ++r) {
            const Vector term = B::toward(x - mi[c * lanes + r], at(w + r * lanes + v * width));
            to_row[r] += term;
            to_other += term;
          }
          *reinterpret_cast<Vector*>(s.slope + other + c * lanes + v * width) -= to_other;
        }
#pragma GCC unroll 8
        for (int r = 0; r < rows; ++r) s.row_slope[c * rows + r] += to_row[r];
      }
    }
    for (int r = 0; r < rows; ++r) s.closeness[first + r] += row_closeness[r];
    if (with_slope) {
      for (int64_t c = 0; c < dimensions; ++c) {
        for (int r = 0; r < rows; ++r) s.slope[own + c * lanes + r] += B::sum(s.row_slope[c * rows + r]);
      }
    }
  }
}

// So many tasks share a comparison, at least 64 rows each.
int64_t parts_of(const Comparisons& all) {
  const int64_t parts = smaller(16 / all.count, all.samples / 64);
  return parts > 1 ? parts : 1;
}

// Comparisons are dealt to so many tasks, each with scratch memory of its own.
int64_t tasks_of(const Comparisons& all) { return smaller(all.count * parts_of(all), 64); }

int64_t workspace(DType dtype, Comparisons all, bool slope) {
  int64_t bytes = 0;
  with_type(dtype, [&](auto type) { bytes = Scratch<Accumulate<decltype(type)>>::bytes(all, slope); });
  return tasks_of(all) * bytes + vector_bytes;
}

void sums(Stream, DType dtype, Comparisons all, const void* m, const void* tangents, const void* grad, void* closeness,
          void* slope, void* workspace) {
  with_type(dtype, [&](auto type) {
    using T = decltype(type);
    using A = Accumulate<T>;
    constexpr int64_t lanes = Block<A>::lanes;
    const int64_t tasks = tasks_of(all), bytes = Scratch<A>::bytes(all, slope != nullptr);
    const int64_t part = all.dimensions * all.samples;
    const uintptr_t base = (reinterpret_cast<uintptr_t>(workspace) + vector_bytes - 1) / vector_bytes * vector_bytes;
    const int64_t parts = parts_of(all);
    const int64_t work = (all.count / tasks + 1) * (all.samples * all.samples / 2) * (all.dimensions + 1);
    const auto scratch = [&](int64_t task) {
      return Scratch<A>(all, slope != nullptr, reinterpret_cast<char*>(base + task * bytes));
    };
    const auto add_up = [&](const Scratch<A>& s, int64_t b, int64_t share) {
      pack(static_cast<const T*>(m) + b * part, all.dimensions, all.samples, s.m);
      for (int64_t t = 0; t < all.tangents; ++t) {
        const T* tangent = static_cast<const T*>(tangents) + (t * all.count + b) * part;
        pack(tangent, all.dimensions, all.samples, s.tangents + t * s.size);
      }
      for (int64_t i = 0; i < s.blocks * lanes; ++i) s.closeness[i] = 0;
      if (slope) {
        for (int64_t i = 0; i < s.blocks * lanes; ++i) {
          s.grad[i] = i < all.samples ? A(widen(static_cast<const T*>(grad)[i * all.count + b])) : A(0);
        }
        for (int64_t i = 0; i < s.size; ++i) s.slope[i] = 0;
      }
      compare(all, s, slope != nullptr, share, parts);
    };
    const auto write = [&](const Scratch<A>& s, int64_t b) {
      if (closeness) {
        for (int64_t i = 0; i < all.samples; ++i) {
          static_cast<T*>(closeness)[i * all.count + b] = narrow<T>(s.closeness[i]);
        }
      }
      if (!slope) return;
      T* out = static_cast<T*>(slope) + b * part;
      for (int64_t begin = 0, at = 0; begin < all.samples; begin += lanes) {
        const int64_t length = smaller(lanes, all.samples - begin);
        for (int64_t c = 0; c < all.dimensions; ++c, at += lanes) {
          T* row = out + c * all.samples + begin;
          GANOPS_SIMD
          for (int64_t l = 0; l < length; ++l) row[l] = narrow<T>(s.slope[at + l]);
        }
      }
    };
    if (parts == 1) {
      parallel(tasks, work, [&](int64_t task) {
        const Scratch<A> s = scratch(task);
        for (int64_t b = all.count * task / tasks; b < all.count * (task + 1) / tasks; ++b) {
          add_up(s, b, 0);
          write(s, b);
        }
      });
      return;
    }
    parallel(tasks, work / parts, [&](int64_t task) { add_up(scratch(task), task / parts, task % parts); });
    for (int64_t b = 0; b < all.count; ++b) {
      const Scratch<A> sums = scratch(b * parts);
      for (int64_t share = 1; share < parts; ++share) {
        const Scratch<A> more = scratch(b * parts + share);
        for (int64_t i = 0; i < all.samples; ++i) sums.closeness[i] += more.closeness[i];
        for (int64_t i = 0; slope != nullptr && i < sums.size; ++i) sums.slope[i] += more.slope[i];
      }
      write(sums, b);
    }
  });
}

}  // namespace

extern const MinibatchDiscriminationKernels minibatch_discrimination{workspace, sums};

}  // namespace ganops::cpu::GANOPS_ISA
