// Contract of the interpolation between real and fake samples. Tensors are (samples, size), each sample dense; weights
// are one per sample in the accumulation type (double for double, else float).
#pragma once

#include "common.h"

namespace ganops {

struct InterpolateKernels {
  // out = w·real + (1 − w)·fake
  void (*forward)(Stream, DType, const void* real, const void* fake, const void* weight, void* out, int64_t samples,
                  int64_t size);

  // grad_real = w·grad, grad_fake = (1 − w)·grad; a null output is not written.
  void (*backward)(Stream, DType, const void* grad, const void* weight, void* grad_real, void* grad_fake,
                   int64_t samples, int64_t size);

  // Bytes of scratch memory that `weight_backward` needs.
  int64_t (*workspace)(int64_t samples, int64_t size);

  // out = Σ grad·(real − fake) per sample, in the accumulation type.
  void (*weight_backward)(Stream, DType, const void* grad, const void* real, const void* fake, void* out,
                          void* workspace, int64_t samples, int64_t size);
};

}  // namespace ganops
