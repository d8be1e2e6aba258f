// 16 bytes of elements at once: the widest access a thread has, and the one that reaches the memory's bandwidth.
#pragma once

#include "launch.cuh"

namespace ganops::cuda {

template <class T>
struct alignas(16) Vector {
  static constexpr int width = 16 / sizeof(T);
  T at[width];
};

// Loads are written out, with a guard: where `inside` is false nothing is read, and the vector is 0. Left to itself the
// compiler makes branches of guards, and moves each load to its use, behind the stores of the one before.
#define GANOPS_LOAD(instruction, clobber)                                                                    \
  uint4 word;                                                                                                \
  asm volatile(                                                                                              \
      "{.reg .pred p; setp.ne.u32 p, %5, 0; mov.u32 %0, 0; mov.u32 %1, 0; mov.u32 %2, 0; mov.u32 %3, 0;\n\t" \
      "@p " instruction " {%0, %1, %2, %3}, [%4];}"                                                          \
      : "=&r"(word.x), "=&r"(word.y), "=&r"(word.z), "=&r"(word.w)                                           \
      : "l"(__cvta_generic_to_global(address)), "r"(unsigned(inside))                                        \
      : clobber);                                                                                            \
  return bits<Vector<T>>(word)

// Memory that this launch may write too.
template <class T>
GANOPS_INLINE Vector<T> load(const T* address, bool inside = true) {
#ifdef __CUDA_ARCH__
  GANOPS_LOAD("ld.global.v4.u32", "memory");
#else
  if (!inside) return {};
#ifdef GANOPS_EMULATED
  ganops_emulation::on_read(address, 16);
#endif
  return *reinterpret_cast<const Vector<T>*>(address);
#endif
}

// Memory that nothing writes while this launch runs: the read-only path, past which stores may be moved.
template <class T>
GANOPS_INLINE Vector<T> load_input(const T* address, bool inside = true) {
#ifdef __CUDA_ARCH__
  GANOPS_LOAD("ld.global.nc.v4.u32", );
#else
  if (!inside) return {};
#ifdef GANOPS_EMULATED
  ganops_emulation::on_read(address, 16);
  ganops_emulation::on_read_only(address, 16);
#endif
  return *reinterpret_cast<const Vector<T>*>(address);
#endif
}

template <class T>
GANOPS_INLINE void store(T* address, const Vector<T>& value) {
#ifdef GANOPS_EMULATED
  ganops_emulation::on_write(address, 16);
#endif
#ifdef __CUDA_ARCH__
  // Written out: left to itself the compiler takes the struct apart and stores element by element.
  const uint4 word = bits<uint4>(value);
  asm volatile("st.global.v4.u32 [%0], {%1, %2, %3, %4};" ::"l"(__cvta_generic_to_global(address)), "r"(word.x),
               "r"(word.y), "r"(word.z), "r"(word.w)
               : "memory");
#else
  *reinterpret_cast<Vector<T>*>(address) = value;
#endif
}

// Whether every pointer allows 16-byte access; null pointers (absent outputs) do.
template <class... Pointers>
bool aligned(Pointers... pointers) {
  return ((reinterpret_cast<uintptr_t>(pointers) % 16 == 0) && ...);
}

// Memory takes some 700 ns to answer, and a card reaches its bandwidth only with 32 KB (H100) or 48 KB (H200) of loads
// under way in each multiprocessor. So a thread first issues the loads of `n` places, then uses them one after another:
// use(i, load(i, true)) for i = first, first + step, … < end, at most n of them; load(i, false) past the end.
template <int n, class Index, class Load, class Use>
__device__ __forceinline__ void in_two_phases(Index first, int step, Index end, Load&& load, Use&& use) {
  const int left = static_cast<int>(end - first < n * step ? end - first : n * step);
  decltype(load(first, true)) loaded[n];
#pragma unroll
  for (int v = 0; v < n; ++v) loaded[v] = load(first + v * step, v * step < left);
#pragma unroll
  for (int v = 0; v < n; ++v) {
    if (v * step < left) use(first + v * step, loaded[v]);
  }
}

// Elements of a tile: what one block takes at once, `n` vectors a thread.
template <class T, int n>
constexpr int64_t tile_size = int64_t(block_size) * n * Vector<T>::width;

// Visits one tile, elements [begin, begin + tile_size) short of `count`: use(i, load(i, true)) where a vector starts at
// i, one(i) for each element where vectors may not be used or the last one is not full. Neighbouring threads take
// neighbouring vectors, and a thread takes the same elements in the same order either way, so that sums do not depend
// on addresses.
template <class T, int n, class Load, class Use, class One>
__device__ __forceinline__ void visit_tile(int64_t begin, int64_t count, bool vectors, Load&& load, Use&& use,
                                           One&& one) {
  constexpr int width = Vector<T>::width, step = block_size * width;
  const int64_t end = begin + tile_size<T, n> < count ? begin + tile_size<T, n> : count;
  const int64_t whole = vectors ? end / width * width : begin;  // up to here in vectors
  in_two_phases<n>(begin + threadIdx.x * width, step, whole, load, use);
  if (whole == end) return;
#pragma unroll 1
  for (int64_t i = begin + threadIdx.x * width; i < end; i += step) {
    if (i < whole) continue;
#pragma unroll 1
    for (int64_t j = i; j < end && j < i + width; ++j) one(j);
  }
}

}  // namespace ganops::cuda
