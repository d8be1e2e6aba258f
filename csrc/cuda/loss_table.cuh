// The segments of an adversarial loss as a kernel parameter, and how blocks share their tiles.
#pragma once

#include "../math/adversarial_loss.h"
#include "vector.cuh"

namespace ganops::cuda {
namespace {

// A longer list takes several launches. The larger table is under the 32,764 bytes that a launch may pass, the smaller
// one costs a launch of one or two segments nothing that can be measured. Both are even: real and fake stay together.
constexpr int few = 16, many = 288;

// A segment as the kernels see it.
template <class T>
struct Segment {
  const T *logits, *partner, *tangent, *partner_tangent, *above, *weight;
  T *out, *partner_out, *above_out;
  int64_t count, end;  // its elements; the tiles up to and with it
  Accumulate<T> scale;
  bool vectors;

  __device__ __forceinline__ Accumulate<T> weight_or_one() const {
    return weight != nullptr ? Accumulate<T>(widen(*weight)) : Accumulate<T>(1);
  }
};

template <class T>
struct Function {
  Base base;
  Accumulate<T> outer, inner, offset, tilt;
};

template <class T, int capacity>
struct Table {
  Segment<T> segment[capacity];
  Function<T> function[2];
  int64_t before;    // segments of the launches before this one
  int64_t together;  // segments of a discriminator
  int segments, parts;
  bool each;

  __device__ __forceinline__ int64_t first_tile(int s) const { return s > 0 ? segment[s - 1].end : 0; }
  __device__ __forceinline__ int part(int s) const { return s & (parts - 1); }
  __device__ __forceinline__ int64_t place(int64_t s) const { return each ? (before + s) / together : 0; }

  __device__ __forceinline__ int segment_of(int64_t tile) const {
    int low = 0, high = segments - 1;
    while (low < high) {
      const int middle = (low + high) / 2;
      if (tile < segment[middle].end) {
        high = middle;
      } else {
        low = middle + 1;
      }
    }
    return low;
  }
};
static_assert(sizeof(Table<double, many>) + 512 <= 32764);

// The stretch of tiles of a block: `quotient`, and one more for the first `remainder` blocks.
struct Stretches {
  int64_t quotient, remainder;

  Stretches(int64_t tiles, int64_t blocks) : quotient(tiles / blocks), remainder(tiles % blocks) {}

  __device__ __forceinline__ int64_t begin(int64_t block) const {
    return block * quotient + (block < remainder ? block : remainder);
  }
  __device__ __forceinline__ int64_t block_of(int64_t tile) const {
    const int64_t longer = remainder * (quotient + 1);
    return tile < longer ? tile / (quotient + 1) : remainder + (tile - longer) / quotient;
  }
};

// body(number of the segment, first element) for each tile of this block, of n vectors a thread, and done(number) after
// the last of each segment.
template <int n, class T, int capacity, class Body, class Done>
__device__ __forceinline__ void for_tiles(const Table<T, capacity>& table, const Stretches& stretches, Body&& body,
                                          Done&& done) {
  int64_t tile = stretches.begin(blockIdx.x);
  const int64_t end = stretches.begin(int64_t(blockIdx.x) + 1);
  if (tile >= end) return;
  int s = table.segment_of(tile);
  while (true) {
    body(s, (tile - table.first_tile(s)) * tile_size<T, n>);
    ++tile;
    if (tile < end && tile < table.segment[s].end) continue;
    done(s);
    if (tile >= end) return;
    do {
      ++s;
    } while (tile >= table.segment[s].end);
  }
}

// Fills tables, in tiles of `tile` elements, and calls launch_one(table, its tiles, whether it is the last).
template <class T, int capacity, class Launch>
void for_tables(const LossTable& from, int64_t tile, const Launch& launch_one) {
  Table<T, capacity> table;
  for (int i = 0; i < 2; ++i) {
    const Term& term = from.terms[i];
    table.function[i] = {term.base, static_cast<Accumulate<T>>(term.outer), static_cast<Accumulate<T>>(term.inner),
                         static_cast<Accumulate<T>>(term.offset), static_cast<Accumulate<T>>(term.tilt)};
  }
  table.parts = from.parts;
  table.together = from.parts * from.samples;
  table.each = from.each;
  for (int64_t before = 0; before < from.count; before += capacity) {
    table.before = before;
    table.segments = static_cast<int>(smaller(capacity, from.count - before));
    int64_t tiles = 0;
    for (int s = 0; s < table.segments; ++s) {
      const LossSegment& f = from.segments[before + s];
      tiles += divide_up(f.count, tile);
      table.segment[s] = {
          static_cast<const T*>(f.logits),
          static_cast<const T*>(f.partner),
          static_cast<const T*>(f.tangent),
          static_cast<const T*>(f.partner_tangent),
          static_cast<const T*>(f.above),
          static_cast<const T*>(f.weight),
          static_cast<T*>(f.out),
          static_cast<T*>(f.partner_out),
          static_cast<T*>(f.above_out),
          f.count,
          tiles,
          static_cast<Accumulate<T>>(f.scale),
          aligned(f.logits, f.partner, f.tangent, f.partner_tangent, f.above, f.out, f.partner_out, f.above_out)};
    }
    launch_one(table, tiles, before + table.segments == from.count);
  }
}

}  // namespace
}  // namespace ganops::cuda
