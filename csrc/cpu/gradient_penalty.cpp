// The penalty on gradient norms on the CPU: a sum of squares per sample, then a factor per sample. The loops are those
// of samples.h.
#include "../math/gradient_penalty.h"

#include "../kernels/gradient_penalty.h"
#include "samples.h"

namespace ganops::cpu::GANOPS_ISA {
namespace {

double scale(Penalty penalty, int64_t samples) { return penalty.reduction == Reduction::mean ? 1. / samples : 1.; }

void forward(Stream, DType dtype, Penalty penalty, const void* gradient, void* norm, void* out, void* workspace,
             int64_t samples, int64_t size) {
  with_type(dtype, [&](auto type) {
    using T = decltype(type);
    using A = Accumulate<T>;
    const auto square = [&](int64_t begin) {
      const T* g = static_cast<const T*>(gradient) + begin;
      return [=](int64_t i) {
        const A x = widen(g[i]);
        return x * x;
      };
    };
    LongSum total;
    sum_samples<A>(samples, size, workspace, square, [&](int64_t sample, double sum) {
      const A n = __builtin_sqrt(sum);
      static_cast<A*>(norm)[sample] = n;
      const A value = penalty_value(n, A(penalty.target), penalty.one_sided);
      if (penalty.reduction == Reduction::none) static_cast<T*>(out)[sample] = narrow<T>(value);
      total.add(value);
    });
    if (penalty.reduction != Reduction::none)
      *static_cast<T*>(out) = narrow<T>(total.value() * scale(penalty, samples));
  });
}

void backward(Stream, DType dtype, Penalty penalty, const void* grad, const void* gradient, const void* norm, void* out,
              int64_t samples, int64_t size) {
  with_type(dtype, [&](auto type) {
    using T = decltype(type);
    using A = Accumulate<T>;
    const A target = penalty.target, factor = scale(penalty, samples);
    const bool each = penalty.reduction == Reduction::none;
    for_samples(samples, size, [&](int64_t sample, int64_t begin, int64_t length, int64_t) {
      const T* g = static_cast<const T*>(gradient) + begin;
      T* y = static_cast<T*>(out) + begin;
      const A n = static_cast<const A*>(norm)[sample];
      const A above = widen(static_cast<const T*>(grad)[each ? sample : 0]);
      const A slope = above * factor * penalty_slope(n, target, penalty.one_sided);
      store(y, length, samples * size, [=](int64_t i) { return slope * A(widen(g[i])); });
    });
  });
}

void double_backward(Stream, DType dtype, Penalty penalty, const void* tangent, const void* grad, const void* gradient,
                     const void* norm, void* grad_out, void* gradient_out, void* workspace, int64_t samples,
                     int64_t size) {
  with_type(dtype, [&](auto type) {
    using T = decltype(type);
    using A = Accumulate<T>;
    const A target = penalty.target, factor = scale(penalty, samples);
    const bool each = penalty.reduction == Reduction::none;
    const auto product = [&](int64_t begin) {
      const T* t = static_cast<const T*>(tangent) + begin;
      const T* g = static_cast<const T*>(gradient) + begin;
      return [=](int64_t i) { return A(widen(t[i])) * A(widen(g[i])); };
    };
    LongSum total;
    double* dot =
        static_cast<double*>(workspace);  // finish(sample) frees the places up to `sample` of the partial sums
    sum_samples<A>(samples, size, workspace, product, [&](int64_t sample, double sum) {
      const A n = static_cast<const A*>(norm)[sample];
      const double value = penalty_slope(n, target, penalty.one_sided) * sum;
      if (each) static_cast<T*>(grad_out)[sample] = narrow<T>(value);
      total.add(value);
      dot[sample] = sum;
    });
    if (!each) *static_cast<T*>(grad_out) = narrow<T>(total.value() * factor);
    for_samples(samples, size, [&](int64_t sample, int64_t begin, int64_t length, int64_t) {
      const T* t = static_cast<const T*>(tangent) + begin;
      const T* g = static_cast<const T*>(gradient) + begin;
      T* y = static_cast<T*>(gradient_out) + begin;
      const A n = static_cast<const A*>(norm)[sample];
      const A inverse = n == 0 ? A(0) : 1 / n;
      const A above = factor * A(widen(static_cast<const T*>(grad)[each ? sample : 0]));
      const A along = above * penalty_slope(n, target, penalty.one_sided);
      const A across = above * penalty_curvature(n, target, penalty.one_sided) * (A(dot[sample]) * inverse);
      store(y, length, samples * size,
            [=](int64_t i) { return along * A(widen(t[i])) + across * (A(widen(g[i])) * inverse); });
    });
  });
}

}  // namespace

extern const GradientPenaltyKernels gradient_penalty{sample_workspace, forward, backward, double_backward};

}  // namespace ganops::cpu::GANOPS_ISA
