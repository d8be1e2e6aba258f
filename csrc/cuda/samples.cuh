// Work on batches: tensors (samples, size) with a number per sample.
//
// A sample is cut into pieces, and each warp takes one (sample, piece) at a time: the sample's number is then the same
// for the whole warp, and sums need no shared memory. A sum per sample is one launch: where a sample is one piece, its
// warp finishes it; else every warp leaves a partial sum, and the block that ends last adds them in their order.
#pragma once

#include "reduce.cuh"
#include "ticket.cuh"
#include "vector.cuh"

namespace ganops::cuda {

enum class Purpose { write, sum };

struct Pieces {
  int64_t samples, size, length, count;  // count pieces a sample, each of `length` elements but the last
  int warps;                             // of a block: fewer than eight where that brings every processor some

  // `vector` is what a warp takes with one vector a lane, `n` as many as a lane loads together. Small batches are
  // spread over the whole card, down to one vector a lane. Large ones are cut so that every load has its n: a pass that
  // writes into pieces enough for the card's scheduler to balance, a sum into no more than the last block adds in a few
  // microseconds.
  Pieces(int64_t samples, int64_t size, int64_t vector, int n, Purpose purpose) : samples(samples), size(size) {
    const int64_t vectors = samples * divide_up(size, vector), processors = multiprocessors();
    int64_t share = vectors / (processors * 16);  // two blocks on each
    if (share >= n) {
      const int64_t rounds = purpose == Purpose::sum ? divide_up(vectors, n * processors * 32)
                                                     : smaller(vectors / (n * processors * 128), 4);
      share = n * (rounds > 1 ? rounds : 1);
    }
    length = vector * (share > 1 ? share : 1);
    count = size > length ? divide_up(size, length) : 1;
    warps = block_size / warp_size;
    while (warps > 1 && divide_up(units(), warps) < processors) warps /= 2;
  }

  __host__ __device__ int64_t units() const { return samples * count; }
  // Whether a block's pieces are always of one sample, so that the block adds them.
  __host__ __device__ bool by_block() const { return warps > 1 && count % warps == 0; }
  // Partial sums of a sample.
  __host__ __device__ int64_t parts() const { return by_block() ? count / warps : count; }
  int64_t blocks() const { return units() > 0 ? divide_up(units(), warps) : 1; }
  int threads() const { return warps * warp_size; }
};

// What a warp takes with one vector a lane.
template <class T>
constexpr int64_t warp_vector = warp_size * Vector<T>::width;

// Whether vectors may be used: every pointer aligned, and every sample too.
template <class T, class... Pointers>
bool aligned_samples(int64_t size, Pointers... pointers) {
  return size % Vector<T>::width == 0 && aligned(pointers...);
}

// body(sample, begin, end, unit) for each unit of this warp; begin and end count from the start of the tensor.
template <class Body>
__device__ __forceinline__ void for_units(const Pieces& pieces, Body&& body) {
  const int64_t units = pieces.units();
  for (int64_t unit = int64_t(blockIdx.x) * pieces.warps + threadIdx.x / warp_size; unit < units;
       unit += int64_t(gridDim.x) * pieces.warps) {
    // With several pieces a sample there are fewer than 2³² units on any card: no 64-bit division.
    const bool whole = pieces.count == 1;
    const int64_t sample = whole ? unit : static_cast<uint32_t>(unit) / static_cast<uint32_t>(pieces.count);
    const int64_t begin = whole ? 0 : (unit - sample * pieces.count) * pieces.length;
    const int64_t end = begin + pieces.length < pieces.size ? begin + pieces.length : pieces.size;
    body(sample, sample * pieces.size + begin, sample * pieces.size + end, unit);
  }
}

// This lane's share of [begin, end), in order: use(i, load(i, true)) where a vector starts at i, n loads together, or
// one(i) for each of the same elements.
template <class T, int n, class Load, class Use, class One>
__device__ __forceinline__ void visit_piece(int64_t begin, int64_t end, bool vectors, Load&& load, Use&& use,
                                            One&& one) {
  constexpr int width = Vector<T>::width, step = warp_size * width;
  const int64_t first = begin + int64_t(threadIdx.x % warp_size) * width;
  if (vectors) {
#pragma unroll 1
    for (int64_t i = first; i < end; i += n * step) in_two_phases<n>(i, step, end, load, use);
  } else {
#pragma unroll 1
    for (int64_t i = first; i < end; i += step) {
#pragma unroll 1
      for (int64_t j = i; j < end && j < i + width; ++j) one(j);
    }
  }
}

// Leaves the sum of a unit, of which each lane has a share, or of the block's units.
template <class A>
__device__ __forceinline__ void leave_sum(const Pieces& pieces, int64_t unit, A share, double* partial) {
  const A sum = warp_sum(share);
  const bool first = threadIdx.x % warp_size == 0;
  if (pieces.by_block()) {
    const double total = block_sum(first ? double(sum) : 0.);
    if (threadIdx.x == 0) partial[unit / pieces.warps] = total;
  } else if (first) {
    partial[unit] = sum;
  }
}

// Adds the partial sums of each sample in their order, finishes each, and returns this thread's share of the finished
// numbers. One block. Few samples have the block each, many as many lanes as there are for all.
template <class Finish>
__device__ __forceinline__ double finish_samples(const Pieces& pieces, const double* partial, const Finish& finish) {
  const int64_t parts = pieces.parts();
  LongSum mine;
  if (pieces.samples <= pieces.warps) {
#pragma unroll 1
    for (int64_t sample = 0; sample < pieces.samples; ++sample) {
      LongSum share;
#pragma unroll 4
      for (int64_t part = threadIdx.x; part < parts; part += blockDim.x) share.add(partial[sample * parts + part]);
      const double sum = block_sum(share.value());
      if (threadIdx.x == 0) mine.add(finish.sample(sample, sum));
    }
    return mine.value();
  }
  int lanes = warp_size / 2;
  while (lanes > 1 && lanes * pieces.samples > blockDim.x) lanes /= 2;
  const int place = threadIdx.x / lanes, lane = threadIdx.x % lanes;
#pragma unroll 1
  for (int64_t first = 0; first < pieces.samples; first += blockDim.x / lanes) {
    const int64_t sample = first + place;
    LongSum share;
#pragma unroll 4
    for (int64_t part = lane; part < parts && sample < pieces.samples; part += lanes) {
      share.add(partial[sample * parts + part]);
    }
    const double sum = warp_sum(share.value(), lanes);
    if (lane == 0 && sample < pieces.samples) mine.add(finish.sample(sample, sum));
  }
  return mine.value();
}

// Σ per sample, Term::together vectors of each tensor loaded at once, Term::blocks on a multiprocessor.
// term.use(term.load(i, true), sum) adds the summands of the vector from i on, one after another, term.one(i, sum) the
// one at i. finish.sample(s, sum) once for each sample gives a number, finish.total(Σ) once their sum, if
// finish.totals() says so. `workspace` holds the count for who has no ticket, then the partial sums.
template <class T, class Term, class Finish>
__global__ void GANOPS_BOUNDS(Term::blocks)
    sample_sum_kernel(const Pieces pieces, const Term term, const bool vectors, const Finish finish, void* workspace,
                      const Ticket ticket) {
  using A = Accumulate<T>;
  double* partial = static_cast<double*>(workspace) + 1;
  const bool whole = pieces.count == 1;
  LongSum mine;
  for_units(pieces, [&](int64_t sample, int64_t begin, int64_t end, int64_t unit) {
    A sum = 0;
    visit_piece<T, Term::together>(
        begin, end, vectors, [&](int64_t i, bool inside) { return term.load(i, inside); },
        [&](int64_t, const auto& loaded) { term.use(loaded, sum); }, [&](int64_t i) { term.one(i, sum); });
    if (!whole) return leave_sum(pieces, unit, sum, partial);
    sum = warp_sum(sum);
    if (threadIdx.x % warp_size == 0) mine.add(finish.sample(sample, sum));
  });
  if (whole && !finish.totals()) return;
  double share = mine.value();
  if (gridDim.x > 1) {
    if (whole) {
      share = block_sum(share);
      if (threadIdx.x == 0) partial[blockIdx.x] = share;
    }
    if (!last_block(ticket.counter(workspace))) return;
    if (whole) {
      LongSum rest;
      for (unsigned b = threadIdx.x; b < gridDim.x; b += blockDim.x) rest.add(partial[b]);
      share = rest.value();
    }
  } else {
    __syncthreads();
  }
  if (!whole) share = finish_samples(pieces, partial, finish);
  if (!finish.totals()) return;
  const double total = block_sum(share);
  if (threadIdx.x == 0) finish.total(total);
}

template <class T, class Term, class Finish>
void sum_samples(Stream stream, const Pieces& pieces, const Term& term, bool vectors, const Finish& finish,
                 void* workspace) {
  const int64_t blocks = pieces.blocks();
  const bool counts = blocks > 1 && (pieces.count > 1 || finish.totals());
  launch(sample_sum_kernel<T, Term, Finish>, blocks, pieces.threads(), stream, pieces, term, vectors, finish, workspace,
         counts ? draw_ticket(stream, workspace) : Ticket());
}

// Doubles that such a sum needs, of whichever dtype: the count and the partial sums.
inline int64_t sum_workspace(int64_t samples, int64_t size, int n) {
  int64_t most = 0;
  for (const int64_t vector : {warp_vector<double>, warp_vector<float>, warp_vector<Half>}) {
    const int64_t units = Pieces(samples, size, vector, n, Purpose::sum).units();
    most = units > most ? units : most;
  }
  return 1 + most;
}

}  // namespace ganops::cuda
