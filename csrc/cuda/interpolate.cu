// Interpolation on the GPU. Forward and backward are one pass each, a warp per piece of a sample (samples.cuh): two
// reads and a write, or a read and two writes. The weight's gradient is a sum per sample.
#include "../math/interpolate.h"

#include "../kernels/interpolate.h"
#include "samples.cuh"

namespace ganops::cuda {
namespace {

constexpr int together = 4;  // vectors of each tensor that a lane loads at once

template <class T>
struct Pair {
  Vector<T> real, fake;
};

template <class T>
__global__ void GANOPS_BOUNDS(4) forward_kernel(const Pieces pieces, const T* real, const T* fake,
                                                const Accumulate<T>* weight, T* out, const bool vectors) {
  using A = Accumulate<T>;
  for_units(pieces, [&](int64_t sample, int64_t begin, int64_t end, int64_t) {
    const A w = weight[sample];
    const auto at = [&](T r, T f) { return narrow<T>(ganops::interpolate(A(widen(r)), A(widen(f)), w)); };
    visit_piece<T, together>(
        begin, end, vectors,
        [&](int64_t i, bool inside) { return Pair<T>{load_input(real + i, inside), load_input(fake + i, inside)}; },
        [&](int64_t i, Pair<T>& x) {
#pragma unroll
          for (int j = 0; j < Vector<T>::width; ++j) x.real.at[j] = at(x.real.at[j], x.fake.at[j]);
          store(out + i, x.real);
        },
        [&](int64_t i) { out[i] = at(real[i], fake[i]); });
  });
}

// A null output is not written.
template <class T>
__global__ void GANOPS_BOUNDS(4) backward_kernel(const Pieces pieces, const T* grad, const Accumulate<T>* weight,
                                                 T* grad_real, T* grad_fake, const bool vectors) {
  using A = Accumulate<T>;
  for_units(pieces, [&](int64_t sample, int64_t begin, int64_t end, int64_t) {
    const A w = weight[sample], rest = 1 - w;
    const auto scaled = [](A factor, T g) { return narrow<T>(factor * A(widen(g))); };
    visit_piece<T, together>(
        begin, end, vectors, [&](int64_t i, bool inside) { return load_input(grad + i, inside); },
        [&](int64_t i, const Vector<T>& g) {
          Vector<T> y;
          if (grad_real) {
#pragma unroll
            for (int j = 0; j < g.width; ++j) y.at[j] = scaled(w, g.at[j]);
            store(grad_real + i, y);
          }
          if (grad_fake) {
#pragma unroll
            for (int j = 0; j < g.width; ++j) y.at[j] = scaled(rest, g.at[j]);
            store(grad_fake + i, y);
          }
        },
        [&](int64_t i) {
          const T g = grad[i];
          if (grad_real) grad_real[i] = scaled(w, g);
          if (grad_fake) grad_fake[i] = scaled(rest, g);
        });
  });
}

template <class T>
struct WeightGradient {
  using A = Accumulate<T>;
  static constexpr int together = 2, blocks = 4;
  struct Loaded {
    Vector<T> grad, real, fake;
  };
  const T *grad, *real, *fake;

  __device__ __forceinline__ Loaded load(int64_t i, bool inside) const {
    return {load_input(grad + i, inside), load_input(real + i, inside), load_input(fake + i, inside)};
  }
  __device__ __forceinline__ void use(const Loaded& x, A& sum) const {
#pragma unroll
    for (int j = 0; j < Vector<T>::width; ++j) sum += at(x.grad.at[j], x.real.at[j], x.fake.at[j]);
  }
  __device__ __forceinline__ void one(int64_t i, A& sum) const { sum += at(grad[i], real[i], fake[i]); }
  static __device__ __forceinline__ A at(T g, T r, T f) {
    return interpolate_weight_gradient(A(widen(g)), A(widen(r)), A(widen(f)));
  }
};

template <class A>
struct WriteSample {
  A* out;

  __device__ __forceinline__ double sample(int64_t sample, double sum) const {
    out[sample] = static_cast<A>(sum);
    return 0;
  }
  __host__ __device__ bool totals() const { return false; }
  __device__ __forceinline__ void total(double) const {}
};

void forward(Stream stream, DType dtype, const void* real, const void* fake, const void* weight, void* out,
             int64_t samples, int64_t size) {
  with_type(dtype, [&](auto type) {
    using T = decltype(type);
    const Pieces pieces(samples, size, warp_vector<T>, together, Purpose::write);
    launch(forward_kernel<T>, pieces.blocks(), pieces.threads(), stream, pieces, static_cast<const T*>(real),
           static_cast<const T*>(fake), static_cast<const Accumulate<T>*>(weight), static_cast<T*>(out),
           aligned_samples<T>(size, real, fake, out));
  });
}

void backward(Stream stream, DType dtype, const void* grad, const void* weight, void* grad_real, void* grad_fake,
              int64_t samples, int64_t size) {
  with_type(dtype, [&](auto type) {
    using T = decltype(type);
    const Pieces pieces(samples, size, warp_vector<T>, together, Purpose::write);
    launch(backward_kernel<T>, pieces.blocks(), pieces.threads(), stream, pieces, static_cast<const T*>(grad),
           static_cast<const Accumulate<T>*>(weight), static_cast<T*>(grad_real), static_cast<T*>(grad_fake),
           aligned_samples<T>(size, grad, grad_real, grad_fake));
  });
}

void weight_backward(Stream stream, DType dtype, const void* grad, const void* real, const void* fake, void* out,
                     void* workspace, int64_t samples, int64_t size) {
  with_type(dtype, [&](auto type) {
    using T = decltype(type);
    const WeightGradient<T> term{static_cast<const T*>(grad), static_cast<const T*>(real), static_cast<const T*>(fake)};
    const WriteSample<Accumulate<T>> finish{static_cast<Accumulate<T>*>(out)};
    const Pieces pieces(samples, size, warp_vector<T>, term.together, Purpose::sum);
    sum_samples<T>(stream, pieces, term, aligned_samples<T>(size, grad, real, fake), finish, workspace);
  });
}

int64_t workspace(int64_t samples, int64_t size) {
  return sum_workspace(samples, size, WeightGradient<float>::together) * sizeof(double);
}

}  // namespace

extern const InterpolateKernels interpolate{forward, backward, workspace, weight_backward};

}  // namespace ganops::cuda
