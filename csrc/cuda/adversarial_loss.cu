// Adversarial losses on the GPU: one launch for real and fake together.
//
// Work: the segments are cut into tiles of four 16-byte vectors a thread, real tiles first. `first` and `value` write,
// one block a tile. `sum` and `second` reduce: as many blocks as the card holds at once stride over the tiles, each
// leaves one partial sum, and the block that finishes last adds the partial sums in their order. Which base function a
// segment has is decided once a tile.
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

template <class T>
struct Segments {
  Segment<T> segment[max_segments];
  int64_t tiles;

  explicit Segments(const LossSegments& from) : tiles(0) {
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
                    s < from.count ? divide_up(f.count, tile_size<T>) : 0,
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
  bool per_element, vectors;
};

// body(segment, begin) for each tile of this block.
template <class T, class Body>
__device__ __forceinline__ void for_tiles(const Segments<T>& segments, Body&& body) {
  for (int64_t tile = blockIdx.x; tile < segments.tiles; tile += gridDim.x) {
    const bool later = tile >= segments.segment[0].tiles;
    body(segments.segment[later], (later ? tile - segments.segment[0].tiles : tile) * tile_size<T>);
  }
}

// What a term or a tangent is at: a number, or the difference to its partner.
template <bool paired, class T>
__device__ __forceinline__ Accumulate<T> number_at(T x, T y) {
  using A = Accumulate<T>;
  return paired ? A(widen(x)) - A(widen(y)) : A(widen(x));
}

// The partner's vector or element at i; nothing is read where there is none.
template <bool paired, class T>
__device__ __forceinline__ Vector<T> partner_vector(const T* data, int64_t i) {
  if constexpr (paired) return load(data + i);
  return {};
}
template <bool paired, class T>
__device__ __forceinline__ T partner_element(const T* data, int64_t i) {
  if constexpr (paired) return data[i];
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
__global__ void GANOPS_BOUNDS sum_kernel(const __grid_constant__ Segments<T> segments, T* out, void* workspace,
                                         const Ticket ticket) {
  using A = Accumulate<T>;
  A mine = 0;
  const T* partner = segments.segment[1].logits;
  for_tiles(segments, [&](const Segment<T>& s, int64_t begin) {
    with_base<paired>(s.base, [&](auto base) {
      const auto term = [&](T x, T y) { return base.value(s.inner * number_at<paired>(x, y) + s.offset); };
      A sum = 0;
      visit_tile<T>(
          begin, s.count, s.vectors,
          [&](int64_t i) {
            const Vector<T> x = load(s.logits + i), y = partner_vector<paired>(partner, i);
#pragma unroll
            for (int j = 0; j < x.width; ++j) sum += term(x.at[j], y.at[j]);
          },
          [&](int64_t i) { sum += term(s.logits[i], partner_element<paired>(partner, i)); });
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
__global__ void GANOPS_BOUNDS value_kernel(const __grid_constant__ Segments<T> segments) {
  const T* partner = segments.segment[1].logits;
  for_tiles(segments, [&](const Segment<T>& s, int64_t begin) {
    with_base<paired>(s.base, [&](auto base) {
      const auto term = [&](T x, T y) {
        return narrow<T>(s.outer * base.value(s.inner * number_at<paired>(x, y) + s.offset));
      };
      visit_tile<T>(
          begin, s.count, s.vectors,
          [&](int64_t i) {
            Vector<T> x = load(s.logits + i);
            const Vector<T> y = partner_vector<paired>(partner, i);
#pragma unroll
            for (int j = 0; j < x.width; ++j) x.at[j] = term(x.at[j], y.at[j]);
            store(s.out + i, x);
          },
          [&](int64_t i) { s.out[i] = term(s.logits[i], partner_element<paired>(partner, i)); });
    });
  });
}

template <class T, bool paired>
__global__ void GANOPS_BOUNDS first_kernel(const __grid_constant__ Segments<T> segments, const Gradient<T> gradient) {
  using A = Accumulate<T>;
  const A number = gradient.per_element ? A(1) : A(widen(*gradient.data));
  const Segment<T>& partner = segments.segment[1];
  for_tiles(segments, [&](const Segment<T>& s, int64_t begin) {
    const A factor = number * (s.scale * s.outer * s.inner);
    with_base<paired>(s.base, [&](auto base) {
      const auto slope = [&](T x, T y) { return factor * base.first(s.inner * number_at<paired>(x, y) + s.offset); };
      // A constant slope needs no logits, and they are not read.
      constexpr bool constant = std::is_same_v<decltype(base), Linear>;
      visit_tile<T>(
          begin, s.count, s.vectors && gradient.vectors,
          [&](int64_t i) {
            Vector<T> x{}, g;
            if constexpr (!constant) x = load(s.logits + i);
            if (gradient.per_element) g = load(gradient.data + i);
            const Vector<T> y = partner_vector<paired>(partner.logits, i);
#pragma unroll
            for (int j = 0; j < x.width; ++j) {
              const A above = gradient.per_element ? A(widen(g.at[j])) : A(1);
              x.at[j] = narrow<T>(above * slope(x.at[j], y.at[j]));
            }
            store(s.out + i, x);
            store_partner<paired>(partner.out, i, x);
          },
          [&](int64_t i) {
            const A above = gradient.per_element ? A(widen(gradient.data[i])) : A(1);
            const T x = constant ? T{} : s.logits[i], y = partner_element<paired>(partner.logits, i);
            const T result = narrow<T>(above * slope(x, y));
            s.out[i] = result;
            store_partner<paired>(partner.out, i, result);
          });
    });
  });
}

// Reduced: *gradient_out = Σ scale·t·f'(x). Per element (a single segment): gradient_out[i] = t·f'(x).
template <class T, bool paired>
__global__ void GANOPS_BOUNDS second_kernel(const __grid_constant__ Segments<T> segments, const Gradient<T> gradient,
                                            T* gradient_out, void* workspace, const Ticket ticket) {
  using A = Accumulate<T>;
  const bool each = gradient.per_element;
  const A number = each ? A(1) : A(widen(*gradient.data));
  A mine = 0;
  const Segment<T>& partner = segments.segment[1];
  for_tiles(segments, [&](const Segment<T>& s, int64_t begin) {
    const A once = s.outer * s.inner, twice = number * s.scale * once * s.inner;
    with_base<paired>(s.base, [&](auto base) {
      A sum = 0;
      const auto at = [&](A x, A t, T above, T& summand) {
        const A u = s.inner * x + s.offset;
        const A slope = once * t * base.first(u);
        if (each) {
          summand = narrow<T>(slope);
        } else {
          sum += slope;
        }
        return narrow<T>(twice * t * (each ? A(widen(above)) : A(1)) * base.second(u));
      };
      visit_tile<T>(
          begin, s.count, s.vectors && gradient.vectors,
          [&](int64_t i) {
            Vector<T> x = load(s.logits + i), g = x, summand;
            const Vector<T> t = load(s.tangent + i);
            const Vector<T> y = partner_vector<paired>(partner.logits, i);
            const Vector<T> v = partner_vector<paired>(partner.tangent, i);
            if (each) g = load(gradient.data + i);
#pragma unroll
            for (int j = 0; j < x.width; ++j) {
              x.at[j] =
                  at(number_at<paired>(x.at[j], y.at[j]), number_at<paired>(t.at[j], v.at[j]), g.at[j], summand.at[j]);
            }
            store(s.out + i, x);
            store_partner<paired>(partner.out, i, x);
            if (each) store(gradient_out + i, summand);
          },
          [&](int64_t i) {
            T summand;
            const T y = partner_element<paired>(partner.logits, i), v = partner_element<paired>(partner.tangent, i);
            const T result = at(number_at<paired>(s.logits[i], y), number_at<paired>(s.tangent[i], v),
                                each ? gradient.data[i] : T{}, summand);
            s.out[i] = result;
            store_partner<paired>(partner.out, i, result);
            if (each) gradient_out[i] = summand;
          });
      mine += s.scale * sum;
    });
  });
  if (!each) grid_sum(mine, gradient_out, workspace, ticket);
}

// A few tiles are one block's work: no partial sums, no ticket.
template <class T>
int64_t reduction_blocks(const Segments<T>& segments) {
  return segments.tiles <= 4 ? 1 : smaller(segments.tiles, resident_blocks());
}

Ticket ticket_for(int64_t blocks, Stream stream, void* workspace) {
  return blocks > 1 ? draw_ticket(stream, workspace) : Ticket{-1};
}

int64_t workspace(const LossSegments& segments) {
  int64_t elements = 0;
  for (int s = 0; s < segments.count; ++s) elements += segments.segment[s].count;
  // The smallest tiles are those of doubles; two segments have at most one tile more than their sum.
  const int64_t blocks = smaller(elements / tile_size<double> + 2, resident_blocks());
  return (1 + blocks) * sizeof(double);
}

// Calls f with a value of the element type and whether the segments are paired, both known to the compiler.
template <class F>
void with_types(DType dtype, const LossSegments& segments, F&& f) {
  with_type(dtype, [&](auto type) { segments.paired ? f(type, std::true_type()) : f(type, std::false_type()); });
}

void sum(Stream stream, DType dtype, const LossSegments& from, void* out, void* workspace) {
  with_types(dtype, from, [&](auto type, auto paired) {
    using T = decltype(type);
    const Segments<T> segments(from);
    const int64_t blocks = reduction_blocks(segments);
    launch(sum_kernel<T, decltype(paired)::value>, blocks, block_size, stream, segments, static_cast<T*>(out),
           workspace, ticket_for(blocks, stream, workspace));
  });
}

void value(Stream stream, DType dtype, const LossSegments& from) {
  with_types(dtype, from, [&](auto type, auto paired) {
    using T = decltype(type);
    const Segments<T> segments(from);
    launch(value_kernel<T, decltype(paired)::value>, segments.tiles, block_size, stream, segments);
  });
}

void first(Stream stream, DType dtype, const LossSegments& from, LossGradient gradient) {
  with_types(dtype, from, [&](auto type, auto paired) {
    using T = decltype(type);
    const Segments<T> segments(from);
    if (segments.tiles == 0) return;
    const Gradient<T> above{static_cast<const T*>(gradient.data), gradient.per_element,
                            !gradient.per_element || aligned(gradient.data)};
    launch(first_kernel<T, decltype(paired)::value>, segments.tiles, block_size, stream, segments, above);
  });
}

void second(Stream stream, DType dtype, const LossSegments& from, LossGradient gradient, void* gradient_out,
            void* workspace) {
  with_types(dtype, from, [&](auto type, auto paired) {
    using T = decltype(type);
    const Segments<T> segments(from);
    if (segments.tiles == 0 && gradient.per_element) return;
    const Gradient<T> above{static_cast<const T*>(gradient.data), gradient.per_element,
                            !gradient.per_element || aligned(gradient.data, gradient_out)};
    const int64_t blocks = gradient.per_element ? segments.tiles : reduction_blocks(segments);
    launch(second_kernel<T, decltype(paired)::value>, blocks, block_size, stream, segments, above,
           static_cast<T*>(gradient_out), workspace,
           gradient.per_element ? Ticket{-1} : ticket_for(blocks, stream, workspace));
  });
}

}  // namespace

extern const AdversarialLossKernels adversarial_loss{workspace, sum, value, first, second};

}  // namespace ganops::cuda
