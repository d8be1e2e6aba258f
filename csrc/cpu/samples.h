// Loops over batches: tensors (samples, size) with a number per sample.
//
// Long samples are cut into chunks that threads share; short ones go many to a chunk, so that a batch of points in the
// plane does not become a batch of two-element tasks.
#pragma once

#include "loops.h"

namespace ganops::cpu {
namespace GANOPS_ISA {
namespace {

// body(sample, begin, length, piece): `length` elements from `begin`, counted from the start of the tensor, all of one
// sample and the piece-th chunk of it.
template <class Body>
void for_samples(int64_t samples, int64_t size, const Body& body) {
  const int64_t pieces = chunks_of(size);
  if (pieces > 1) {
    parallel(samples * pieces, chunk, [&](int64_t index) {
      const int64_t sample = index / pieces, piece = index % pieces;
      body(sample, sample * size + piece * chunk, smaller(chunk, size - piece * chunk), piece);
    });
  } else if (size > 0) {
    const int64_t together = chunk / size;
    parallel((samples + together - 1) / together, smaller(samples, together) * size, [&](int64_t index) {
      const int64_t end = smaller(samples, (index + 1) * together);
      for (int64_t sample = index * together; sample < end; ++sample) body(sample, sample * size, size, 0);
    });
  }
}

// At least one number per sample, also for samples of size 0.
inline int64_t sample_workspace(int64_t samples, int64_t size) {
  return samples * (size > 0 ? chunks_of(size) : 1) * sizeof(double);
}

// finish(sample, Σᵢ term(begin)(i)) for every sample; `term` gets the place in the tensor where its i counts from.
template <class A, class Term, class Finish>
void sum_samples(int64_t samples, int64_t size, void* workspace, const Term& term, const Finish& finish) {
  const int64_t pieces = chunks_of(size);
  double* partial = static_cast<double*>(workspace);
  for_samples(samples, size, [&](int64_t sample, int64_t begin, int64_t length, int64_t piece) {
    partial[sample * pieces + piece] = accumulate<A>(length, term(begin));
  });
  for (int64_t sample = 0; sample < samples; ++sample) {
    LongSum sum;
    for (int64_t piece = 0; piece < pieces; ++piece) sum.add(partial[sample * pieces + piece]);
    finish(sample, sum.value());
  }
}

}  // namespace
}  // namespace GANOPS_ISA
}  // namespace ganops::cpu
