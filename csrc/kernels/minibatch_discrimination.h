// Contract of minibatch discrimination: sums over all pairs of samples, in B comparisons of C dimensions each. m is
// (B, C, N), samples innermost; tangents are (count, B, C, N) in the same dtype; closeness and grad are (N, B).
//
// With k and q as in csrc/math/minibatch_discrimination.h, and Π the product of q over the tangents:
//   closeness_ib = Σ_{j≠i} k·Π                                  the derivative of that order along the tangents
//   slope_bci    = Σ_{j≠i} (G_ib + G_jb)·k·Π·sign(m_jc − m_ic)   the gradient of Σ G·closeness with respect to m
//
// These two are closed under differentiation. Of Σ G·closeness the gradient is the slope with respect to m, and the
// slope without that tangent with respect to a tangent. And ⟨u, slope⟩ = Σ G·closeness with u as one more tangent.
#pragma once

#include "common.h"

namespace ganops {

struct Comparisons {
  int64_t count, dimensions, samples, tangents;
};

struct MinibatchDiscriminationKernels {
  // Bytes of scratch memory that `sums` needs, of the order of the tensors.
  int64_t (*workspace)(DType, Comparisons, bool slope);

  // A null output is not computed; grad matters to the slope alone.
  void (*sums)(Stream, DType, Comparisons, const void* m, const void* tangents, const void* grad, void* closeness,
               void* slope, void* workspace);
};

}  // namespace ganops
