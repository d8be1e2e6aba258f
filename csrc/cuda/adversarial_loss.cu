// Adversarial losses on the GPU: one launch for real and fake together.
//
// Work: the segments are cut into tiles of two or four 16-byte vectors a thread, real tiles first. `first` and `value`
// write, one block a tile. `sum` and `second` reduce: as many blocks as the card holds at once stride over the tiles,
// each leaves one partial sum, and the block that finishes last adds the partial sums in their order. Which base
// function a segment has is decided once a tile.
//
// Paired logits are one segment whose numbers are differences: the second segment has no tiles of its own, and lends
// its pointers.
#include "../math/adversarial_loss.h"

#include <type_traits>

#include "reduce.cuh"
#include "ticket.cuh"
#include "vector.cuh"

namespace ganops::cuda {
namespace {

// A segment as the kernels see it: typed, with its constants folded.
template <class T>
struct Segment {
  using A = Accumulate<T>;
  const T* logits;
  const T* tangent;
  T* out;
  int64_t count, tiles;
  Base base;
  bool vectors;
  A outer, inner, offset, scale;
};

// Vectors of a tensor that a thread loads together, of so many tensors.
template <int tensors>
constexpr int together = tensors <= 2 ? 4 : 2;
// Of `first` a constant slope leaves one tensor.
constexpr int first_together = 4;

// In tiles of `tile` elements.
template <class T>
struct Segments {
  Segment<T> segment[max_segments];
  int64_t tiles;

  Segments(const LossSegments& from, int64_t tile) : tiles(0) {
    for (int s = 0; s < max_segments; ++s) {
      if (s >= from.count && !from.paired) {
        segment[s] = {};
        continue;
      }
      const LossSegment& f = from.segment[s];
      const LossSegment& partner = from.segment[from.paired ? 1 : s];
      segment[s] = {static_cast<const T*>(f.logits),
                    static_cast<const T*>(f.tangent),
                    static_cast<T*>(f.out),
                    f.count,
                    s < from.count ? divide_up(f.count, tile) : 0,
                    f.term.base,
                    aligned(f.logits, f.tangent, f.out, partner.logits, partner.tangent, partner.out),
                    static_cast<Accumulate<T>>(f.term.outer),
                    static_cast<Accumulate<T>>(f.term.inner),
                    static_cast<Accumulate<T>>(f.term.offset),
                    static_cast<Accumulate<T>>(f.scale)};
      tiles += segment[s].tiles;
    }
  }
};

// One element, or one per logit.
template <class T>
struct Gradient {
  const T* data;
  bool vectors;
};

// body(segment, begin) for each tile of this block, of n vectors a thread.
template <int n, class T, class Body>
__device__ __forceinline__ void for_tiles(const Segments<T>& segments, Body&& body) {
  for (int64_t tile = blockIdx.x; tile < segments.tiles; tile += gridDim.x) {
    const bool later = tile >= segments.segment[0].tiles;
    body(segments.segment[later], (later ? tile - segments.segment[0].tiles : tile) * tile_size<T, n>);
  }
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

// Sums `mine` over the grid into *out. `workspace` holds a count of finished blocks for who has no ticket, then one
// partial sum a block; with a single block neither is touched.
template <class T, class A>
__device__ __forceinline__ void grid_sum(A mine, T* out, void* workspace, Ticket ticket) {
  double* partial = static_cast<double*>(workspace) + 1;
  const A sum = block_sum(mine);
  if (gridDim.x == 1) {
    if (threadIdx.x == 0) *out = narrow<T>(sum);
    return;
  }
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
  if (!last_block(ticket.counter(workspace))) return;
  double rest = 0;
  for (unsigned b = threadIdx.x; b < gridDim.x; b += block_size) rest += partial[b];
  const double total = block_sum(rest);
  if (threadIdx.x == 0) *out = narrow<T>(static_cast<A>(total));
}

template <class T, bool paired>
__global__ void GANOPS_BOUNDS(is_double<T> ? 3 : 4)
    sum_kernel(const __grid_constant__ Segments<T> segments, T* out, void* workspace, const Ticket ticket) {
  using A = Accumulate<T>;
  constexpr int n = together<1 + paired>;
  A mine = 0;
  const T* partner = segments.segment[1].logits;
  for_tiles<n>(segments, [&](const Segment<T>& s, int64_t begin) {
    with_base<paired>(s.base, [&](auto base) {
      const auto term = [&](T x, T y) { return base.value(s.inner * number_at<paired>(x, y) + s.offset); };
      A sum = 0;
      visit_tile<T, n>(
          begin, s.count, s.vectors,
          [&](int64_t i, bool inside) {
            return Loaded<T>{load_input(s.logits + i, inside), vector_at<paired>(partner, i, inside)};
          },
          [&](int64_t, const Loaded<T>& at) {
#pragma unroll
            for (int j = 0; j < Vector<T>::width; ++j) sum += term(at.x.at[j], at.partner.at[j]);
          },
          [&](int64_t i) { sum += term(s.logits[i], element_at<paired>(partner, i)); });
      mine += s.scale * s.outer * sum;
    });
  });
  // The mean of no logits: ∞·0 = NaN, as torch has it.
  if (blockIdx.x == 0 && threadIdx.x == 0) {
#pragma unroll
    for (int s = 0; s < (paired ? 1 : max_segments); ++s) {
      if (segments.segment[s].count == 0) mine += segments.segment[s].scale * A(0);
    }
  }
  grid_sum(mine, out, workspace, ticket);
}

template <class T, bool paired>
__global__ void GANOPS_BOUNDS(is_double<T> ? 3 : 4) value_kernel(const __grid_constant__ Segments<T> segments) {
  constexpr int n = together<1 + paired>;
  const T* partner = segments.segment[1].logits;
  for_tiles<n>(segments, [&](const Segment<T>& s, int64_t begin) {
    with_base<paired>(s.base, [&](auto base) {
      const auto term = [&](T x, T y) {
        return narrow<T>(s.outer * base.value(s.inner * number_at<paired>(x, y) + s.offset));
      };
      visit_tile<T, n>(
          begin, s.count, s.vectors,
          [&](int64_t i, bool inside) {
            return Loaded<T>{load_input(s.logits + i, inside), vector_at<paired>(partner, i, inside)};
          },
          [&](int64_t i, Loaded<T>& at) {
#pragma unroll
            for (int j = 0; j < Vector<T>::width; ++j) at.x.at[j] = term(at.x.at[j], at.partner.at[j]);
            store(s.out + i, at.x);
          },
          [&](int64_t i) { s.out[i] = term(s.logits[i], element_at<paired>(partner, i)); });
    });
  });
}

template <class T, bool paired, bool each>
__global__ void GANOPS_BOUNDS(is_double<T>     ? 2
                              : paired || each ? 3
                                               : 4)
    first_kernel(const __grid_constant__ Segments<T> segments, const Gradient<T> gradient) {
  using A = Accumulate<T>;
  constexpr int n = first_together;
  const A number = each ? A(1) : A(widen(*gradient.data));
  const Segment<T>& partner = segments.segment[1];
  for_tiles<n>(segments, [&](const Segment<T>& s, int64_t begin) {
    const A factor = number * (s.scale * s.outer * s.inner);
    with_base<paired>(s.base, [&](auto base) {
      const auto slope = [&](T x, T y) { return factor * base.first(s.inner * number_at<paired>(x, y) + s.offset); };
      // A constant slope needs no logits, and they are not read.
      constexpr bool constant = std::is_same_v<decltype(base), Linear>;
      visit_tile<T, n>(
          begin, s.count, s.vectors && gradient.vectors,
          [&](int64_t i, bool inside) {
            Loaded<T> at{vector_at<!constant>(s.logits, i, inside), vector_at<paired>(partner.logits, i, inside)};
            at.above = vector_at<each>(gradient.data, i, inside);
            return at;
          },
          [&](int64_t i, Loaded<T>& at) {
#pragma unroll
            for (int j = 0; j < Vector<T>::width; ++j) {
              const A above = each ? A(widen(at.above.at[j])) : A(1);
              at.x.at[j] = narrow<T>(above * slope(at.x.at[j], at.partner.at[j]));
            }
            store(s.out + i, at.x);
            store_partner<paired>(partner.out, i, at.x);
          },
          [&](int64_t i) {
            const A above = each ? A(widen(gradient.data[i])) : A(1);
            const T x = element_at<!constant>(s.logits, i), y = element_at<paired>(partner.logits, i);
            const T result = narrow<T>(above * slope(x, y));
            s.out[i] = result;
            store_partner<paired>(partner.out, i, result);
          });
    });
  });
}

// Reduced: *gradient_out = Σ scale·t·f'(x). Each (a single segment): gradient_out[i] = t·f'(x).
template <class T, bool paired, bool each>
__global__ void GANOPS_BOUNDS(is_double<T> ? 2 : 3)
    second_kernel(const __grid_constant__ Segments<T> segments, const Gradient<T> gradient, T* gradient_out,
                  void* workspace, const Ticket ticket) {
  using A = Accumulate<T>;
  constexpr int n = together<2 * (1 + paired) + each>;
  const A number = each ? A(1) : A(widen(*gradient.data));
  A mine = 0;
  const Segment<T>& partner = segments.segment[1];
  for_tiles<n>(segments, [&](const Segment<T>& s, int64_t begin) {
    const A once = s.outer * s.inner, twice = number * s.scale * once * s.inner;
    with_base<paired>(s.base, [&](auto base) {
      A sum = 0;
      const auto at = [&](A x, A t, T above, T& summand) {
        const A u = s.inner * x + s.offset;
        const A slope = once * t * base.first(u);
        if constexpr (each) {
          summand = narrow<T>(slope);
        } else {
          sum += slope;
        }
        return narrow<T>(twice * t * (each ? A(widen(above)) : A(1)) * base.second(u));
      };
      visit_tile<T, n>(
          begin, s.count, s.vectors && gradient.vectors,
          [&](int64_t i, bool inside) {
            return Loaded<T>{load_input(s.logits + i, inside), vector_at<paired>(partner.logits, i, inside),
                             load_input(s.tangent + i, inside), vector_at<paired>(partner.tangent, i, inside),
                             vector_at<each>(gradient.data, i, inside)};
          },
          [&](int64_t i, Loaded<T>& loaded) {
            Vector<T> summand;
#pragma unroll
            for (int j = 0; j < summand.width; ++j) {
              loaded.x.at[j] = at(number_at<paired>(loaded.x.at[j], loaded.partner.at[j]),
                                  number_at<paired>(loaded.tangent.at[j], loaded.partner_tangent.at[j]),
                                  loaded.above.at[j], summand.at[j]);
            }
            store(s.out + i, loaded.x);
            store_partner<paired>(partner.out, i, loaded.x);
            if constexpr (each) store(gradient_out + i, summand);
          },
          [&](int64_t i) {
            T summand;
            const T y = element_at<paired>(partner.logits, i), v = element_at<paired>(partner.tangent, i);
            const T result = at(number_at<paired>(s.logits[i], y), number_at<paired>(s.tangent[i], v),
                                element_at<each>(gradient.data, i), summand);
            s.out[i] = result;
            store_partner<paired>(partner.out, i, result);
            if constexpr (each) gradient_out[i] = summand;
          });
      mine += s.scale * sum;
    });
  });
  if constexpr (!each) grid_sum(mine, gradient_out, workspace, ticket);
}

// A few tiles are one block's work: no partial sums, no ticket.
template <class T>
int64_t reduction_blocks(const Segments<T>& segments) {
  return segments.tiles <= 4 ? 1 : smaller(segments.tiles, resident_blocks());
}

Ticket ticket_for(int64_t blocks, Stream stream, void* workspace) {
  return blocks > 1 ? draw_ticket(stream, workspace) : Ticket();
}

int64_t workspace(const LossSegments& segments) {
  int64_t elements = 0;
  for (int s = 0; s < segments.count; ++s) elements += segments.segment[s].count;
  // The smallest tiles are those of doubles; two segments have at most one tile more than their sum.
  const int64_t blocks = smaller(elements / tile_size<double, 2> + 2, resident_blocks());
  return (1 + blocks) * sizeof(double);
}

// Calls f with a value of the element type, whether the segments are paired, and `each`, all known to the compiler.
template <class F>
void with_types(DType dtype, const LossSegments& segments, bool each, F&& f) {
  with_type(dtype, [&](auto type) {
    const auto with_each = [&](auto paired) {
      each ? f(type, paired, std::true_type()) : f(type, paired, std::false_type());
    };
    segments.paired ? with_each(std::true_type()) : with_each(std::false_type());
  });
}

// The same for kernels that no gradient reaches.
template <class F>
void with_types(DType dtype, const LossSegments& segments, F&& f) {
  with_type(dtype, [&](auto type) { segments.paired ? f(type, std::true_type()) : f(type, std::false_type()); });
}

void sum(Stream stream, DType dtype, const LossSegments& from, void* out, void* workspace) {
  with_types(dtype, from, [&](auto type, auto paired) {
    using T = decltype(type);
    const Segments<T> segments(from, tile_size<T, together<1 + paired()>>);
    const int64_t blocks = reduction_blocks(segments);
    launch(sum_kernel<T, paired()>, blocks, block_size, stream, segments, static_cast<T*>(out), workspace,
           ticket_for(blocks, stream, workspace));
  });
}

void value(Stream stream, DType dtype, const LossSegments& from) {
  with_types(dtype, from, [&](auto type, auto paired) {
    using T = decltype(type);
    const Segments<T> segments(from, tile_size<T, together<1 + paired()>>);
    launch(value_kernel<T, paired()>, segments.tiles, block_size, stream, segments);
  });
}

void first(Stream stream, DType dtype, const LossSegments& from, LossGradient gradient) {
  with_types(dtype, from, gradient.per_element, [&](auto type, auto paired, auto each) {
    using T = decltype(type);
    const Segments<T> segments(from, tile_size<T, first_together>);
    if (segments.tiles == 0) return;
    const Gradient<T> above{static_cast<const T*>(gradient.data), !each() || aligned(gradient.data)};
    launch(first_kernel<T, paired(), each()>, segments.tiles, block_size, stream, segments, above);
  });
}

void second(Stream stream, DType dtype, const LossSegments& from, LossGradient gradient, void* gradient_out,
            void* workspace) {
  with_types(dtype, from, gradient.per_element, [&](auto type, auto paired, auto each) {
    using T = decltype(type);
    const Segments<T> segments(from, tile_size<T, together<2 * (1 + paired()) + each()>>);
    if (segments.tiles == 0 && each()) return;
    const Gradient<T> above{static_cast<const T*>(gradient.data), !each() || aligned(gradient.data, gradient_out)};
    const int64_t blocks = each() ? segments.tiles : reduction_blocks(segments);
    launch(second_kernel<T, paired(), each()>, blocks, block_size, stream, segments, above,
           static_cast<T*>(gradient_out), workspace, each() ? Ticket() : ticket_for(blocks, stream, workspace));
  });
}

}  // namespace

extern const AdversarialLossKernels adversarial_loss{workspace, sum, value, first, second};

}  // namespace ganops::cuda
