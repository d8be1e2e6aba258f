// Adversarial losses on the GPU: one launch for all segments, real and fake logits of any number of discriminators.
//
// The segments' addresses and lengths travel as a kernel parameter, which a CUDA graph records with the launch. The
// segments are cut into tiles of two or four 16-byte vectors a thread, numbered through. `first` and `value` write, one
// block a tile. `sum` and `second` reduce: as many blocks as the card holds at once each take a stretch of consecutive
// tiles and leave one partial sum for each segment in it; the block that finishes last adds them up, a warp for each
// segment, in their order. Which base function a segment has is decided once a tile.
//
// A partial sum lies at the number of its block plus that of its segment: both only grow along the tiles, so no two
// share a place, and those of a segment lie side by side.
#include "../math/adversarial_loss.h"

#include <type_traits>

#include "loss_table.cuh"
#include "reduce.cuh"
#include "ticket.cuh"

namespace ganops::cuda {
namespace {

// Vectors of a tensor that a thread loads together, of so many tensors.
template <int tensors>
constexpr int together = tensors <= 2 ? 4 : 2;
// Of `first` a constant slope leaves one tensor.
constexpr int first_together = 4;

// The gradients from above, or what is told of them; each null where there is none.
template <class Pointer>
struct Views {
  Pointer at[loss_views];

  template <class Untyped>
  explicit Views(const LossViews<Untyped>& from) {
    for (int view = 0; view < loss_views; ++view) at[view] = static_cast<Pointer>(from.at[view]);
  }
};

// The one number that arrives from above at segment s. A sum from −0 keeps the sign of a zero.
template <class T, int capacity>
__device__ __forceinline__ Accumulate<T> gradient_at(const Table<T, capacity>& table, const Views<const T*>& gradient,
                                                     int s) {
  using A = Accumulate<T>;
  A sum = -A(0);
  const T *loss = gradient.at[0], *part = gradient.at[1 + table.part(s)];
  if (loss != nullptr) sum += A(widen(loss[table.place(s)]));
  if (part != nullptr) sum += A(widen(part[table.place(s)]));
  return sum;
}

// What a thread loads for one vector; each is 0 where a kernel does without it.
template <class T>
struct Loaded {
  Vector<T> x, partner, tangent, partner_tangent, above;
};

// What a term or a tangent is at: a number, or the difference to its partner.
template <bool paired, class T>
__device__ __forceinline__ Accumulate<T> number_at(T x, T y) {
  using A = Accumulate<T>;
  return paired ? A(widen(x)) - A(widen(y)) : A(widen(x));
}

// The vector or element at i; nothing is read where `there` says that the kernel has none.
template <bool there, class T>
__device__ __forceinline__ Vector<T> vector_at(const T* data, int64_t i, bool inside) {
  if constexpr (there) return load_input(data + i, inside);
  return {};
}
template <bool there, class T>
__device__ __forceinline__ T element_at(const T* data, int64_t i) {
  if constexpr (there) return data[i];
  return {};
}

// The gradient of the partner: the same with the other sign.
template <class T>
__device__ __forceinline__ T negative(T x) {
  return narrow<T>(-Accumulate<T>(widen(x)));
}
template <bool paired, class T>
__device__ __forceinline__ void store_partner(T* data, int64_t i, Vector<T> x) {
  if constexpr (paired) {
#pragma unroll
    for (int j = 0; j < x.width; ++j) x.at[j] = negative(x.at[j]);
    store(data + i, x);
  }
}
template <bool paired, class T>
__device__ __forceinline__ void store_partner(T* data, int64_t i, T x) {
  if constexpr (paired) data[i] = negative(x);
}

// Where a reduction leaves what it has found. `partial` is of one launch, `values` of all, a number for each segment.
struct Totals {
  void* counter;
  double *partial, *values;
  int64_t segments;  // of all launches
  bool last;
};

// After all blocks have left their partial sums: the value of each segment, scaled, and after the last launch the
// views, which are sums of these in their order.
template <class T, int capacity>
__device__ __forceinline__ void finish(const Table<T, capacity>& table, const Stretches& stretches,
                                       const Views<T*>& views, const Totals& totals, Ticket ticket) {
  using A = Accumulate<T>;
  if (gridDim.x > 1) {
    if (!last_block(ticket.counter(totals.counter))) return;
  } else {
    __syncthreads();
  }
  const int lane = threadIdx.x % warp_size;
  for (int s = threadIdx.x / warp_size; s < table.segments; s += block_size / warp_size) {
    const int64_t first = table.first_tile(s), end = table.segment[s].end;
    double sum = 0;
    if (first < end) {
      const int64_t from = stretches.block_of(first) + s, to = stretches.block_of(end - 1) + s;
      for (int64_t i = from + lane; i <= to; i += warp_size) sum += totals.partial[i];
    }
    sum = warp_sum(sum);
    // The mean of no logits: ∞·0 = NaN, as torch has it.
    if (lane == 0) {
      totals.values[table.before + s] = double(table.segment[s].scale) * table.segment[s].weight_or_one() * sum;
    }
  }
  if (!totals.last) return;
  __syncthreads();
  const int64_t places = table.each ? totals.segments / table.together : 1;
  for (int64_t place = threadIdx.x; place < places; place += block_size) {
    const int64_t begin = table.each ? place * table.together : 0,
                  end = table.each ? begin + table.together : totals.segments;
    double loss = 0, first = 0, second = 0;
    for (int64_t s = begin; s < end; ++s) {
      const double value = totals.values[s];
      const bool later = table.part(static_cast<int>(s)) != 0;
      loss += value;
      first += later ? 0. : value;
      second += later ? value : 0.;
    }
    if (views.at[0] != nullptr) views.at[0][place] = narrow<T>(static_cast<A>(loss));
    if (views.at[1] != nullptr) views.at[1][place] = narrow<T>(static_cast<A>(first));
    if (views.at[2] != nullptr) views.at[2][place] = narrow<T>(static_cast<A>(second));
  }
}

// Leaves the block's sum of one segment.
template <class A>
__device__ __forceinline__ void leave(A mine, int s, double* partial) {
  const A sum = block_sum(mine);
  if (threadIdx.x == 0) partial[int64_t(blockIdx.x) + s] = sum;
}

template <class T, bool paired, int capacity>
__global__ void GANOPS_BOUNDS(is_double<T> ? 3 : 4)
    sum_kernel(const __grid_constant__ Table<T, capacity> table, const Stretches stretches,
               const __grid_constant__ Views<T*> views, const Totals totals, const Ticket ticket) {
  using A = Accumulate<T>;
  constexpr int n = together<1 + paired>;
  A mine = 0;
  for_tiles<n>(
      table, stretches,
      [&](int number, int64_t begin) {
        const Segment<T>& s = table.segment[number];
        const Function<T>& f = table.function[table.part(number)];
        const T *logits = s.logits, *partner = s.partner;
        with_base<paired>(f.base, f.tilt, [&](auto base) {
          const auto term = [&](T x, T y) { return base.value(f.inner * number_at<paired>(x, y) + f.offset); };
          A sum = 0;
          visit_tile<T, n>(
              begin, s.count, s.vectors,
              [&](int64_t i, bool inside) {
                return Loaded<T>{load_input(logits + i, inside), vector_at<paired>(partner, i, inside)};
              },
              [&](int64_t, const Loaded<T>& at) {
#pragma unroll
                for (int j = 0; j < Vector<T>::width; ++j) sum += term(at.x.at[j], at.partner.at[j]);
              },
              [&](int64_t i) { sum += term(logits[i], element_at<paired>(partner, i)); });
          mine += f.outer * sum;
        });
      },
      [&](int number) {
        leave(mine, number, totals.partial);
        mine = 0;
      });
  finish(table, stretches, views, totals, ticket);
}

template <class T, bool paired, int capacity>
__global__ void GANOPS_BOUNDS(is_double<T>&& paired ? 2 : 3)
    value_kernel(const __grid_constant__ Table<T, capacity> table, const Stretches stretches) {
  constexpr int n = together<1 + paired>;
  for_tiles<n>(
      table, stretches,
      [&](int number, int64_t begin) {
        const Segment<T>& s = table.segment[number];
        const Function<T>& f = table.function[table.part(number)];
        const T *logits = s.logits, *partner = s.partner;
        T* out = s.out;
        const auto outer = f.outer * s.weight_or_one();
        with_base<paired>(f.base, f.tilt, [&](auto base) {
          const auto term = [&](T x, T y) {
            return narrow<T>(outer * base.value(f.inner * number_at<paired>(x, y) + f.offset));
          };
          visit_tile<T, n>(
              begin, s.count, s.vectors,
              [&](int64_t i, bool inside) {
                return Loaded<T>{load_input(logits + i, inside), vector_at<paired>(partner, i, inside)};
              },
              [&](int64_t i, Loaded<T>& at) {
#pragma unroll
                for (int j = 0; j < Vector<T>::width; ++j) at.x.at[j] = term(at.x.at[j], at.partner.at[j]);
                store(out + i, at.x);
              },
              [&](int64_t i) { out[i] = term(logits[i], element_at<paired>(partner, i)); });
        });
      },
      [](int) {});
}

template <class T, bool paired, bool each, int capacity>
__global__ void GANOPS_BOUNDS(is_double<T>     ? 2
                              : paired || each ? 3
                                               : 4)
    first_kernel(const __grid_constant__ Table<T, capacity> table, const Stretches stretches,
                 const __grid_constant__ Views<const T*> gradient) {
  using A = Accumulate<T>;
  constexpr int n = first_together;
  for_tiles<n>(
      table, stretches,
      [&](int number, int64_t begin) {
        const Segment<T>& s = table.segment[number];
        const Function<T>& f = table.function[table.part(number)];
        const T *logits = s.logits, *partner = s.partner, *gradients = s.above;
        T *out = s.out, *partner_out = s.partner_out;
        const A factor =
            (each ? A(1) : gradient_at(table, gradient, number)) * (s.scale * s.weight_or_one() * f.outer * f.inner);
        with_base<paired>(f.base, f.tilt, [&](auto base) {
          const auto slope = [&](T x, T y) {
            return factor * base.first(f.inner * number_at<paired>(x, y) + f.offset);
          };
          // A constant slope needs no logits, and they are not read.
          constexpr bool constant = std::is_same_v<decltype(base), Linear>;
          visit_tile<T, n>(
              begin, s.count, s.vectors,
              [&](int64_t i, bool inside) {
                Loaded<T> at{vector_at<!constant>(logits, i, inside), vector_at<paired>(partner, i, inside)};
                at.above = vector_at<each>(gradients, i, inside);
                return at;
              },
              [&](int64_t i, Loaded<T>& at) {
#pragma unroll
                for (int j = 0; j < Vector<T>::width; ++j) {
                  const A above = each ? A(widen(at.above.at[j])) : A(1);
                  at.x.at[j] = narrow<T>(above * slope(at.x.at[j], at.partner.at[j]));
                }
                store(out + i, at.x);
                store_partner<paired>(partner_out, i, at.x);
              },
              [&](int64_t i) {
                const A above = each ? A(widen(gradients[i])) : A(1);
                const T x = element_at<!constant>(logits, i), y = element_at<paired>(partner, i);
                const T result = narrow<T>(above * slope(x, y));
                out[i] = result;
                store_partner<paired>(partner_out, i, result);
              });
        });
      },
      [](int) {});
}

// Reduced: the views of Σ scale·t·f'(x). Each: above_out[i] = t·f'(x).
template <class T, bool paired, bool each, int capacity>
__global__ void GANOPS_BOUNDS(is_double<T> ? 2 : 3)
    second_kernel(const __grid_constant__ Table<T, capacity> table, const Stretches stretches,
                  const __grid_constant__ Views<const T*> gradient, const __grid_constant__ Views<T*> views,
                  const Totals totals, const Ticket ticket) {
  using A = Accumulate<T>;
  constexpr int n = together<2 * (1 + paired) + each>;
  A mine = 0;
  for_tiles<n>(
      table, stretches,
      [&](int number, int64_t begin) {
        const Segment<T>& s = table.segment[number];
        const Function<T>& f = table.function[table.part(number)];
        const T *logits = s.logits, *partner = s.partner, *tangent = s.tangent, *partner_tangent = s.partner_tangent,
                *gradients = s.above;
        T *out = s.out, *partner_out = s.partner_out, *above_out = s.above_out;
        // Of a sum the weight is taken at its end.
        const A weight = s.weight_or_one(), once = (each ? weight : A(1)) * f.outer * f.inner;
        const A twice = (each ? A(1) : gradient_at(table, gradient, number) * weight) * s.scale * once * f.inner;
        with_base<paired>(f.base, f.tilt, [&](auto base) {
          A sum = 0;
          const auto at = [&](A x, A t, T above, T& summand) {
            const A u = f.inner * x + f.offset;
            const A slope = once * t * base.first(u);
            if constexpr (each) {
              summand = narrow<T>(slope);
            } else {
              sum += slope;
            }
            return narrow<T>(twice * t * (each ? A(widen(above)) : A(1)) * base.second(u));
          };
          visit_tile<T, n>(
              begin, s.count, s.vectors,
              [&](int64_t i, bool inside) {
                return Loaded<T>{load_input(logits + i, inside), vector_at<paired>(partner, i, inside),
                                 load_input(tangent + i, inside), vector_at<paired>(partner_tangent, i, inside),
                                 vector_at<each>(gradients, i, inside)};
              },
              [&](int64_t i, Loaded<T>& loaded) {
                Vector<T> summand;
#pragma unroll
                for (int j = 0; j < summand.width; ++j) {
                  loaded.x.at[j] = at(number_at<paired>(loaded.x.at[j], loaded.partner.at[j]),
                                      number_at<paired>(loaded.tangent.at[j], loaded.partner_tangent.at[j]),
                                      loaded.above.at[j], summand.at[j]);
                }
                store(out + i, loaded.x);
                store_partner<paired>(partner_out, i, loaded.x);
                if constexpr (each) store(above_out + i, summand);
              },
              [&](int64_t i) {
                T summand;
                const T y = element_at<paired>(partner, i), v = element_at<paired>(partner_tangent, i);
                const T result = at(number_at<paired>(logits[i], y), number_at<paired>(tangent[i], v),
                                    element_at<each>(gradients, i), summand);
                out[i] = result;
                store_partner<paired>(partner_out, i, result);
                if constexpr (each) above_out[i] = summand;
              });
          mine += sum;
        });
      },
      [&](int number) {
        if constexpr (!each) {
          leave(mine, number, totals.partial);
          mine = 0;
        }
      });
  if constexpr (!each) finish(table, stretches, views, totals, ticket);
}

// A few tiles are one block's work: no partial sums of others, no ticket.
int64_t reduction_blocks(int64_t tiles) { return tiles <= 4 ? 1 : smaller(tiles, resident_blocks()); }

Ticket ticket_for(int64_t blocks, Stream stream, void* workspace) {
  return blocks > 1 ? draw_ticket(stream, workspace) : Ticket();
}

// A count for who has no ticket, a value for each segment, and partial sums.
int64_t workspace(const LossTable& table) {
  // The smallest tiles are those of doubles; each segment has at most one that is not full.
  int64_t elements = 0;
  for (int64_t s = 0; s < table.count; ++s) elements += table.segments[s].count;
  const int64_t blocks = smaller(elements / tile_size<double, 2> + table.count, resident_blocks());
  return (1 + table.count + blocks + smaller(table.count, many)) * sizeof(double);
}

// Calls f with a value of the element type, whether the segments are paired, `each`, and how many segments a table
// holds, all known to the compiler.
template <class F>
void with_types(DType dtype, const LossTable& table, bool each, F&& f) {
  with_type(dtype, [&](auto type) {
    const auto with_capacity = [&](auto paired, auto each) {
      if (table.count <= few) {
        f(type, paired, each, std::integral_constant<int, few>());
      } else {
        f(type, paired, each, std::integral_constant<int, many>());
      }
    };
    const auto with_each = [&](auto paired) {
      each ? with_capacity(paired, std::true_type()) : with_capacity(paired, std::false_type());
    };
    table.paired ? with_each(std::true_type()) : with_each(std::false_type());
  });
}

// The same for kernels that no gradient reaches.
template <class F>
void with_types(DType dtype, const LossTable& table, F&& f) {
  with_type(dtype, [&](auto type) {
    const auto with_capacity = [&](auto paired) {
      if (table.count <= few) {
        f(type, paired, std::integral_constant<int, few>());
      } else {
        f(type, paired, std::integral_constant<int, many>());
      }
    };
    table.paired ? with_capacity(std::true_type()) : with_capacity(std::false_type());
  });
}

Totals totals_of(const LossTable& table, void* workspace, bool last) {
  double* numbers = static_cast<double*>(workspace) + 1;
  return {workspace, numbers + table.count, numbers, table.count, last};
}

void sum(Stream stream, DType dtype, const LossTable& from, const LossValues& out, void* workspace) {
  with_types(dtype, from, [&](auto type, auto paired, auto capacity) {
    using T = decltype(type);
    for_tables<T, capacity()>(
        from, tile_size<T, together<1 + paired()>>, [&](const auto& table, int64_t tiles, bool last) {
          const int64_t blocks = reduction_blocks(tiles);
          launch(sum_kernel<T, paired(), capacity()>, blocks, block_size, stream, table, Stretches(tiles, blocks),
                 Views<T*>(out), totals_of(from, workspace, last), ticket_for(blocks, stream, workspace));
        });
  });
}

void value(Stream stream, DType dtype, const LossTable& from) {
  with_types(dtype, from, [&](auto type, auto paired, auto capacity) {
    using T = decltype(type);
    for_tables<T, capacity()>(from, tile_size<T, together<1 + paired()>>, [&](const auto& table, int64_t tiles, bool) {
      if (tiles == 0) return;
      const int64_t blocks = smaller(tiles, max_blocks);
      launch(value_kernel<T, paired(), capacity()>, blocks, block_size, stream, table, Stretches(tiles, blocks));
    });
  });
}

void first(Stream stream, DType dtype, const LossTable& from, const LossGradients& gradients) {
  with_types(dtype, from, from.per_element, [&](auto type, auto paired, auto each, auto capacity) {
    using T = decltype(type);
    for_tables<T, capacity()>(from, tile_size<T, first_together>, [&](const auto& table, int64_t tiles, bool) {
      if (tiles == 0) return;
      const int64_t blocks = smaller(tiles, max_blocks);
      launch(first_kernel<T, paired(), each(), capacity()>, blocks, block_size, stream, table, Stretches(tiles, blocks),
             Views<const T*>(gradients));
    });
  });
}

void second(Stream stream, DType dtype, const LossTable& from, const LossGradients& gradients, const LossValues& out,
            void* workspace) {
  with_types(dtype, from, from.per_element, [&](auto type, auto paired, auto each, auto capacity) {
    using T = decltype(type);
    for_tables<T, capacity()>(
        from, tile_size<T, together<2 * (1 + paired()) + each()>>, [&](const auto& table, int64_t tiles, bool last) {
          if (tiles == 0 && each()) return;
          const int64_t blocks = each() ? smaller(tiles, max_blocks) : reduction_blocks(tiles);
          launch(second_kernel<T, paired(), each(), capacity()>, blocks, block_size, stream, table,
                 Stretches(tiles, blocks), Views<const T*>(gradients), Views<T*>(out), totals_of(from, workspace, last),
                 each() ? Ticket() : ticket_for(blocks, stream, workspace));
        });
  });
}

}  // namespace

extern const AdversarialLossKernels adversarial_loss{workspace, sum, value, first, second};

}  // namespace ganops::cuda
