// Interpolation on the CPU: the loops of samples.h, one weight per sample.
#include "../math/interpolate.h"

#include "../kernels/interpolate.h"
#include "samples.h"

namespace ganops::cpu::GANOPS_ISA {
namespace {

void forward(Stream, DType dtype, const void* real, const void* fake, const void* weight, void* out, int64_t samples,
             int64_t size) {
  with_type(dtype, [&](auto type) {
    using T = decltype(type);
    using A = Accumulate<T>;
    for_samples(samples, size, [&](int64_t sample, int64_t begin, int64_t length, int64_t) {
      const T* r = static_cast<const T*>(real) + begin;
      const T* f = static_cast<const T*>(fake) + begin;
      T* y = static_cast<T*>(out) + begin;
      const A w = static_cast<const A*>(weight)[sample];
      store(y, length, samples * size, [=](int64_t i) { return interpolate(A(widen(r[i])), A(widen(f[i])), w); });
    });
  });
}

void backward(Stream, DType dtype, const void* grad, const void* weight, void* grad_real, void* grad_fake,
              int64_t samples, int64_t size) {
  const int64_t written = ((grad_real != nullptr) + (grad_fake != nullptr)) * samples * size;
  with_type(dtype, [&](auto type) {
    using T = decltype(type);
    using A = Accumulate<T>;
    for_samples(samples, size, [&](int64_t sample, int64_t begin, int64_t length, int64_t) {
      const T* g = static_cast<const T*>(grad) + begin;
      const A w = static_cast<const A*>(weight)[sample], rest = 1 - w;
      if (grad_real) {
        T* y = static_cast<T*>(grad_real) + begin;
        store(y, length, written, [=](int64_t i) { return w * A(widen(g[i])); });
      }
      if (grad_fake) {
        T* y = static_cast<T*>(grad_fake) + begin;
        store(y, length, written, [=](int64_t i) { return rest * A(widen(g[i])); });
      }
    });
  });
}

void weight_backward(Stream, DType dtype, const void* grad, const void* real, const void* fake, void* out,
                     void* workspace, int64_t samples, int64_t size) {
  with_type(dtype, [&](auto type) {
    using T = decltype(type);
    using A = Accumulate<T>;
    const auto term = [&](int64_t begin) {
      const T* g = static_cast<const T*>(grad) + begin;
      const T* r = static_cast<const T*>(real) + begin;
      const T* f = static_cast<const T*>(fake) + begin;
      return [=](int64_t i) { return interpolate_weight_gradient(A(widen(g[i])), A(widen(r[i])), A(widen(f[i]))); };
    };
    sum_samples<A>(samples, size, workspace, term,
                   [&](int64_t sample, double sum) { static_cast<A*>(out)[sample] = sum; });
  });
}

}  // namespace

extern const InterpolateKernels interpolate{forward, backward, sample_workspace, weight_backward};

}  // namespace ganops::cpu::GANOPS_ISA
