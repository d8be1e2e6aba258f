// The penalty on gradient norms on the GPU, over the pieces of samples.cuh.
//
// Forward: sums of squares, and from them norms and penalty: one launch, the gradient read once. Backward: one launch,
// a read and a write. Double backward: the products ⟨tangent, gradient⟩ in a launch, then one that writes.
#include "../math/gradient_penalty.h"

#include "../kernels/gradient_penalty.h"
#include "samples.cuh"

namespace ganops::cuda {
namespace {

constexpr int together = 4;  // vectors of each tensor that a lane loads at once

template <class T>
struct Two {
  Vector<T> left, right;
};

template <class T>
struct SquaredNorm {
  using A = Accumulate<T>;
  const T* gradient;

  __device__ __forceinline__ Vector<T> load(int64_t i, bool inside) const { return load_input(gradient + i, inside); }
  __device__ __forceinline__ void use(const Vector<T>& g, A& sum) const {
#pragma unroll
    for (int j = 0; j < g.width; ++j) sum += square(g.at[j]);
  }
  __device__ __forceinline__ void one(int64_t i, A& sum) const { sum += square(gradient[i]); }
  static __device__ __forceinline__ A square(T g) { return A(widen(g)) * A(widen(g)); }
  static constexpr int together = cuda::together, blocks = 4;
};

template <class T>
struct Product {
  using A = Accumulate<T>;
  const T *left, *right;

  __device__ __forceinline__ Two<T> load(int64_t i, bool inside) const {
    return {load_input(left + i, inside), load_input(right + i, inside)};
  }
  __device__ __forceinline__ void use(const Two<T>& x, A& sum) const {
#pragma unroll
    for (int j = 0; j < Vector<T>::width; ++j) sum += A(widen(x.left.at[j])) * A(widen(x.right.at[j]));
  }
  __device__ __forceinline__ void one(int64_t i, A& sum) const { sum += A(widen(left[i])) * A(widen(right[i])); }
  static constexpr int together = cuda::together, blocks = 3;
};

// The penalty's setting as the kernels see it.
template <class T>
struct Setting {
  using A = Accumulate<T>;
  A target, scale;
  bool one_sided, each;

  Setting(const Penalty& penalty, int64_t samples)
      : target(static_cast<A>(penalty.target)),
        scale(static_cast<A>(penalty.reduction == Reduction::mean ? 1. / samples : 1.)),
        one_sided(penalty.one_sided),
        each(penalty.reduction == Reduction::none) {}
};

template <class T>
struct WritePenalty {
  using A = Accumulate<T>;
  Setting<T> setting;
  A* norm;
  T* out;

  __device__ __forceinline__ double sample(int64_t sample, double sum) const {
    const A n = static_cast<A>(sqrt(sum));
    norm[sample] = n;
    const A value = penalty_value(n, setting.target, setting.one_sided);
    if (setting.each) out[sample] = narrow<T>(value);
    return value;
  }
  __host__ __device__ bool totals() const { return !setting.each; }
  __device__ __forceinline__ void total(double sum) const { *out = narrow<T>(static_cast<A>(sum * setting.scale)); }
};

template <class T>
struct WriteSlope {
  using A = Accumulate<T>;
  Setting<T> setting;
  const A* norm;
  T* out;
  double* dot;

  __device__ __forceinline__ double sample(int64_t sample, double sum) const {
    const double value = penalty_slope(norm[sample], setting.target, setting.one_sided) * sum;
    if (setting.each) out[sample] = narrow<T>(static_cast<A>(value));
    dot[sample] = sum;
    return value;
  }
  __host__ __device__ bool totals() const { return !setting.each; }
  __device__ __forceinline__ void total(double sum) const { *out = narrow<T>(static_cast<A>(sum * setting.scale)); }
};

template <class T>
__global__ void GANOPS_BOUNDS(4)
    backward_kernel(const Pieces pieces, const Setting<T> setting, const T* grad, const T* gradient,
                    const Accumulate<T>* norm, T* out, const bool vectors) {
  using A = Accumulate<T>;
  for_units(pieces, [&](int64_t sample, int64_t begin, int64_t end, int64_t) {
    const A slope = A(widen(grad[setting.each ? sample : 0])) * setting.scale *
                    penalty_slope(norm[sample], setting.target, setting.one_sided);
    visit_piece<T, together>(
        begin, end, vectors, [&](int64_t i, bool inside) { return load_input(gradient + i, inside); },
        [&](int64_t i, Vector<T>& g) {
#pragma unroll
          for (int j = 0; j < g.width; ++j) g.at[j] = narrow<T>(slope * A(widen(g.at[j])));
          store(out + i, g);
        },
        [&](int64_t i) { out[i] = narrow<T>(slope * A(widen(gradient[i]))); });
  });
}

template <class T>
__global__ void GANOPS_BOUNDS(4) double_backward_kernel(const Pieces pieces, const Setting<T> setting, const T* tangent,
                                                        const T* grad, const T* gradient, const Accumulate<T>* norm,
                                                        const double* dot, T* out, const bool vectors) {
  using A = Accumulate<T>;
  for_units(pieces, [&](int64_t sample, int64_t begin, int64_t end, int64_t) {
    const A n = norm[sample], inverse = n == 0 ? A(0) : 1 / n;
    const A above = A(widen(grad[setting.each ? sample : 0])) * setting.scale;
    const A along = above * penalty_slope(n, setting.target, setting.one_sided);
    const A across = above * penalty_curvature(n, setting.target, setting.one_sided) * (A(dot[sample]) * inverse);
    const auto at = [&](T t, T g) { return narrow<T>(along * A(widen(t)) + across * (A(widen(g)) * inverse)); };
    visit_piece<T, together>(
        begin, end, vectors,
        [&](int64_t i, bool inside) {
          return Two<T>{load_input(tangent + i, inside), load_input(gradient + i, inside)};
        },
        [&](int64_t i, Two<T>& x) {
#pragma unroll
          for (int j = 0; j < Vector<T>::width; ++j) x.left.at[j] = at(x.left.at[j], x.right.at[j]);
          store(out + i, x.left);
        },
        [&](int64_t i) { out[i] = at(tangent[i], gradient[i]); });
  });
}

// The sums' memory, then one number per sample.
int64_t workspace(int64_t samples, int64_t size) {
  return (sum_workspace(samples, size, together) + samples) * sizeof(double);
}

void forward(Stream stream, DType dtype, Penalty penalty, const void* gradient, void* norm, void* out, void* workspace,
             int64_t samples, int64_t size) {
  with_type(dtype, [&](auto type) {
    using T = decltype(type);
    const SquaredNorm<T> term{static_cast<const T*>(gradient)};
    const WritePenalty<T> finish{Setting<T>(penalty, samples), static_cast<Accumulate<T>*>(norm), static_cast<T*>(out)};
    const Pieces pieces(samples, size, warp_vector<T>, together, Purpose::sum);
    sum_samples<T>(stream, pieces, term, aligned_samples<T>(size, gradient), finish, workspace);
  });
}

void backward(Stream stream, DType dtype, Penalty penalty, const void* grad, const void* gradient, const void* norm,
              void* out, int64_t samples, int64_t size) {
  with_type(dtype, [&](auto type) {
    using T = decltype(type);
    const Pieces pieces(samples, size, warp_vector<T>, together, Purpose::write);
    launch(backward_kernel<T>, pieces.blocks(), pieces.threads(), stream, pieces, Setting<T>(penalty, samples),
           static_cast<const T*>(grad), static_cast<const T*>(gradient), static_cast<const Accumulate<T>*>(norm),
           static_cast<T*>(out), aligned_samples<T>(size, gradient, out));
  });
}

void double_backward(Stream stream, DType dtype, Penalty penalty, const void* tangent, const void* grad,
                     const void* gradient, const void* norm, void* grad_out, void* gradient_out, void* workspace,
                     int64_t samples, int64_t size) {
  with_type(dtype, [&](auto type) {
    using T = decltype(type);
    using A = Accumulate<T>;
    const Setting<T> setting(penalty, samples);
    double* dot = static_cast<double*>(workspace) + sum_workspace(samples, size, together);
    const Product<T> term{static_cast<const T*>(tangent), static_cast<const T*>(gradient)};
    const WriteSlope<T> finish{setting, static_cast<const A*>(norm), static_cast<T*>(grad_out), dot};
    const Pieces sums(samples, size, warp_vector<T>, together, Purpose::sum);
    sum_samples<T>(stream, sums, term, aligned_samples<T>(size, tangent, gradient), finish, workspace);
    if (samples * size == 0) return;
    const Pieces pieces(samples, size, warp_vector<T>, together, Purpose::write);
    launch(double_backward_kernel<T>, pieces.blocks(), pieces.threads(), stream, pieces, setting,
           static_cast<const T*>(tangent), static_cast<const T*>(grad), static_cast<const T*>(gradient),
           static_cast<const A*>(norm), static_cast<const double*>(dot), static_cast<T*>(gradient_out),
           aligned_samples<T>(size, tangent, gradient, gradient_out));
  });
}

}  // namespace

extern const GradientPenaltyKernels gradient_penalty{workspace, forward, backward, double_backward};

}  // namespace ganops::cuda
