// 16 bytes of elements at once: the widest access a thread has, and the one that reaches the memory's bandwidth.
#pragma once

#include "launch.cuh"

namespace ganops::cuda {

template <class T>
struct alignas(16) Vector {
  static constexpr int width = 16 / sizeof(T);
  T at[width];
};

template <class T>
GANOPS_INLINE Vector<T> load(const T* address) {
#ifdef GANOPS_EMULATED
  ganops_emulation::on_read(address, 16);
#endif
  return *reinterpret_cast<const Vector<T>*>(address);
}

template <class T>
GANOPS_INLINE void store(T* address, const Vector<T>& value) {
#ifdef GANOPS_EMULATED
  ganops_emulation::on_write(address, 16);
#endif
#ifdef __CUDA_ARCH__
  // Said outright: left to itself the compiler takes the struct apart and stores element by element.
  __stwb(reinterpret_cast<uint4*>(address), bits<uint4>(value));
#else
  *reinterpret_cast<Vector<T>*>(address) = value;
#endif
}

// Whether every pointer allows 16-byte access; null pointers (absent outputs) do.
template <class... Pointers>
bool aligned(Pointers... pointers) {
  return ((reinterpret_cast<uintptr_t>(pointers) % 16 == 0) && ...);
}

// Elements of a tile: what one block takes at once, four vectors a thread, so that as many loads are under way before
// the first is used.
constexpr int vectors_per_thread = 4;
template <class T>
constexpr int64_t tile_size = int64_t(block_size) * vectors_per_thread * Vector<T>::width;

// Visits one tile, elements [begin, begin + tile_size) short of `count`: whole(i) where a vector starts at i, one(i)
// for each element where vectors may not be used or the last one is not full. Neighbouring threads take neighbouring
// vectors, and a thread takes the same elements in the same order either way, so that sums do not depend on addresses.
template <class T, class Whole, class One>
__device__ __forceinline__ void visit_tile(int64_t begin, int64_t count, bool vectors, Whole&& whole, One&& one) {
  constexpr int width = Vector<T>::width;
  if (vectors && begin + tile_size<T> <= count) {
#pragma unroll
    for (int v = 0; v < vectors_per_thread; ++v) whole(begin + (int64_t(v) * block_size + threadIdx.x) * width);
    return;
  }
  const int64_t end = begin + tile_size<T> < count ? begin + tile_size<T> : count;
#pragma unroll 1
  for (int64_t i = begin + int64_t(threadIdx.x) * width; i < end; i += block_size * width) {
    if (vectors && i + width <= end) {
      whole(i);
    } else {
#pragma unroll 1
      for (int64_t j = i; j < end && j < i + width; ++j) one(j);
    }
  }
}

}  // namespace ganops::cuda
