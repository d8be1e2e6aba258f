// Clipping on the CPU. The tensors are laid end to end; threads take equal shares of that line, so one large tensor is
// divided and many small ones are taken together.
#include "../math/clip_weights.h"

#include "../kernels/clip_weights.h"
#include "loops.h"

namespace ganops::cpu::GANOPS_ISA {
namespace {

// Only blocks that change are written: of weights that lie within the limits, which is most of them after most steps, a
// line is read and not written back.
template <class T>
GANOPS_INLINE void clip_range(T* x, int64_t count, Accumulate<T> low, Accumulate<T> high) {
  using A = Accumulate<T>;
  constexpr int64_t block = 256;
  for (int64_t begin = 0; begin < count; begin += block) {
    T* y = x + begin;
    const int64_t length = smaller(block, count - begin);
    int32_t outside = 0;
#pragma omp simd reduction(| : outside)
    for (int64_t i = 0; i < length; ++i) {
      const A value = widen(y[i]);
      outside |= (value < low ? 1 : 0) | (value > high ? 1 : 0);
    }
    if (outside == 0) continue;
    GANOPS_SIMD
    for (int64_t i = 0; i < length; ++i) y[i] = narrow<T>(::ganops::GANOPS_ISA::clip(A(widen(y[i])), low, high));
  }
}

void clip(Stream, DType dtype, void* const* data, const int64_t* count, int64_t tensors, double low, double high) {
  int64_t total = 0;
  for (int64_t t = 0; t < tensors; ++t) total += count[t];
  with_type(dtype, [&](auto type) {
    using T = decltype(type);
    using A = Accumulate<T>;
    const A lowest = low, highest = high;
    const auto share = [=](int64_t begin, int64_t end) {
      for (int64_t t = 0; begin < end; ++t) {
        if (begin < count[t]) {
          const int64_t stop = smaller(end, count[t]);
          clip_range(static_cast<T*>(data[t]) + begin, stop - begin, lowest, highest);
          begin = stop;
        }
        begin -= count[t];
        end -= count[t];
      }
    };
    if (total <= serial) {
      share(0, total);
    } else {
      const auto body = [](int64_t begin, int64_t end, void* context) {
        (*static_cast<decltype(share)*>(context))(begin, end);
      };
      parallel_for(0, total, serial / 2, body, const_cast<void*>(static_cast<const void*>(&share)));
    }
  });
}

}  // namespace

extern const ClipWeightsKernels clip_weights{clip};

}  // namespace ganops::cpu::GANOPS_ISA
