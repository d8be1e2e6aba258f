// Contract of the penalty on gradient norms: φ(n) = (n − target)², or max(n − target, 0)² one-sided, of n = ‖g‖₂ per
// sample. The gradient is (samples, size), each sample dense; norms are in the accumulation type.
#pragma once

#include "common.h"

namespace ganops {

struct Penalty {
  double target;
  bool one_sided;
  Reduction reduction;
};

struct GradientPenaltyKernels {
  // Bytes of scratch memory that `forward` and `double_backward` need.
  int64_t (*workspace)(int64_t samples, int64_t size);

  // norm: ‖g‖ per sample. out: the reduced penalty (one element), or one per sample, in the gradient's dtype.
  void (*forward)(Stream, DType, Penalty, const void* gradient, void* norm, void* out, void* workspace, int64_t samples,
                  int64_t size);

  // out = G·scale·c(n)·g with c = φ'(n)/n, and 0 at n = 0. G is one element, or one per sample where nothing is
  // reduced.
  void (*backward)(Stream, DType, Penalty, const void* grad, const void* gradient, const void* norm, void* out,
                   int64_t samples, int64_t size);

  // For a tangent t of `out` above, with u = g/n per sample:
  //   grad_out     = Σ scale·c·⟨t, g⟩, or the summands where nothing is reduced
  //   gradient_out = G·scale·(c·t + n·c'·⟨t, u⟩·u)
  void (*double_backward)(Stream, DType, Penalty, const void* tangent, const void* grad, const void* gradient,
                          const void* norm, void* grad_out, void* gradient_out, void* workspace, int64_t samples,
                          int64_t size);
};

}  // namespace ganops
