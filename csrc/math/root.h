// The square root that host and device share.
#pragma once

#include "scalar.h"

namespace ganops {
inline namespace GANOPS_ISA {

// On the device within 1 ulp, without the branch for special cases that the exact root has.
GANOPS_INLINE float square_root(float x) {
#ifdef __CUDA_ARCH__
  float root;
  asm("sqrt.approx.f32 %0, %1;" : "=f"(root) : "f"(x));
  return root;
#else
  return sqrtf(x);
#endif
}
GANOPS_INLINE double square_root(double x) { return sqrt(x); }

}  // namespace GANOPS_ISA
}  // namespace ganops
