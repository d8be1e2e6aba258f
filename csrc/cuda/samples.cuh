// Work on batches: tensors (samples, size) with a number per sample.
//
// A sample is cut into pieces, and each warp takes one (sample, piece) at a time: the sample's number is then the same
// for the whole warp, and sums need no shared memory. Per-sample sums are two launches: every warp leaves a partial
// sum, then one block adds them in their order, a warp a sample.
#pragma once

#include "reduce.cuh"
#include "vector.cuh"

namespace ganops::cuda {

struct Pieces {
  int64_t samples, size, length, count;  // count pieces a sample, each of `length` elements but the last

  Pieces(int64_t samples, int64_t size) : samples(samples), size(size) {
    constexpr int64_t shortest = 2048, together = 1024, enough = 4096;
    // Few long samples: as many pieces as keep the card busy, and no more, for the second launch reads their sums.
    const int64_t share = divide_up(divide_up(samples * size, enough), together) * together;
    length = share > shortest ? share : shortest;
    count = size > 0 ? divide_up(size, length) : 1;
  }

  int64_t units() const { return samples * count; }
  int64_t blocks() const { return divide_up(units(), block_size / warp_size); }
  int64_t workspace() const { return units() * sizeof(double); }
};

// Whether vectors may be used: every pointer aligned, and every sample too.
template <class T, class... Pointers>
bool aligned_samples(int64_t size, Pointers... pointers) {
  return size % Vector<T>::width == 0 && aligned(pointers...);
}

// body(sample, begin, end, unit) for each unit of this warp; begin and end count from the start of the tensor.
template <class Body>
__device__ __forceinline__ void for_units(const Pieces& pieces, Body&& body) {
  constexpr int warps = block_size / warp_size;
  const int64_t units = pieces.samples * pieces.count;
  for (int64_t unit = int64_t(blockIdx.x) * warps + threadIdx.x / warp_size; unit < units;
       unit += int64_t(gridDim.x) * warps) {
    // With several pieces a sample there are fewer than 2³² units on any card: no 64-bit division.
    const bool whole = pieces.count == 1;
    const int64_t sample = whole ? unit : static_cast<uint32_t>(unit) / static_cast<uint32_t>(pieces.count);
    const int64_t begin = whole ? 0 : (unit - sample * pieces.count) * pieces.length;
    const int64_t end = begin + pieces.length < pieces.size ? begin + pieces.length : pieces.size;
    body(sample, sample * pieces.size + begin, sample * pieces.size + end, unit);
  }
}

// This lane's share of [begin, end): whole(i) where a vector starts at i, or one(i) for each of the same elements.
template <class T, class Whole, class One>
__device__ __forceinline__ void visit_piece(int64_t begin, int64_t end, bool vectors, Whole&& whole, One&& one) {
  constexpr int width = Vector<T>::width;
  const int64_t first = begin + int64_t(threadIdx.x % warp_size) * width;
  if (vectors) {
#pragma unroll 4
    for (int64_t i = first; i < end; i += warp_size * width) whole(i);
  } else {
#pragma unroll 1
    for (int64_t i = first; i < end; i += warp_size * width) {
#pragma unroll 1
      for (int64_t j = i; j < end && j < i + width; ++j) one(j);
    }
  }
}

// First launch of a sum: partial[unit] = Σ over the unit. term.one(i, sum) adds the summand at i, term.whole(i, sum)
// those of a vector from i on, one after another.
template <class T, class Term>
__global__ void GANOPS_BOUNDS partial_kernel(const Pieces pieces, const Term term, const bool vectors,
                                             double* partial) {
  using A = Accumulate<T>;
  for_units(pieces, [&](int64_t, int64_t begin, int64_t end, int64_t unit) {
    A sum = 0;
    visit_piece<T>(begin, end, vectors, [&](int64_t i) { term.whole(i, sum); }, [&](int64_t i) { term.one(i, sum); });
    sum = warp_sum(sum);
    if (threadIdx.x % warp_size == 0) partial[unit] = sum;
  });
}

// Second launch: finish.sample(s, sum) once for each sample gives a number, finish.total(Σ) once their sum.
template <class Finish>
__global__ void GANOPS_BOUNDS finish_kernel(const int64_t samples, const int64_t pieces, const double* partial,
                                            const Finish finish) {
  const int lane = threadIdx.x % warp_size;
  LongSum mine;
  for (int64_t sample = threadIdx.x / warp_size; sample < samples; sample += block_size / warp_size) {
    LongSum share;
    for (int64_t piece = lane; piece < pieces; piece += warp_size) share.add(partial[sample * pieces + piece]);
    const double sum = warp_sum(share.value());
    if (lane == 0) mine.add(finish.sample(sample, sum));
  }
  const double total = block_sum(mine.value());
  if (threadIdx.x == 0) finish.total(total);
}

template <class T, class Term, class Finish>
void sum_samples(Stream stream, const Pieces& pieces, const Term& term, bool vectors, const Finish& finish,
                 void* workspace) {
  double* partial = static_cast<double*>(workspace);
  if (pieces.samples > 0) {
    launch(partial_kernel<T, Term>, pieces.blocks(), block_size, stream, pieces, term, vectors, partial);
  }
  launch(finish_kernel<Finish>, 1, block_size, stream, pieces.samples, pieces.count, partial, finish);
}

inline int64_t sample_workspace(int64_t samples, int64_t size) { return Pieces(samples, size).workspace(); }

}  // namespace ganops::cuda
